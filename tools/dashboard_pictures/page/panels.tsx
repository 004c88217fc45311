// A panel of a dashboard: Grafana's own components where its packages export them, else a frame with the query's table.
import * as React from 'react';
import { firstValueFrom } from 'rxjs';
import {
  DataFrame,
  dataFrameFromJSON,
  DisplayValue,
  FieldDisplay,
  getDisplayProcessor,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  getFrameDisplayName,
  GrafanaTheme2,
  standardTransformers,
  standardTransformersRegistry,
  TimeRange,
  transformDataFrame,
  VizOrientation,
} from '@grafana/data';
import { BigValue, PanelChrome, Table, TimeSeries, VizRepeater } from '@grafana/ui';
import { configured, replacer } from './fields';

export interface Drawing {
  dashboard: any;
  frames: Record<string, any[]>;
  failed: Record<string, string>;
  variables: Record<string, string>;
  from: number;
  to: number;
  notOurs: string;
  noData: string;
}

// Some stand there twice, under an old name and a new one.
const transformers = new Map(Object.values(standardTransformers).map((one: any) => [one.id, one]));
standardTransformersRegistry.setInit(
  () =>
    [...transformers.values()].map((transformation) => ({
      id: transformation.id,
      name: transformation.name,
      transformation,
      editor: () => null,
    })) as any
);

/** The data of every panel, after its transformations; `-- Dashboard --` panels take another's. */
export async function dataOf(drawing: Drawing): Promise<Map<number, DataFrame[]>> {
  const found = new Map<number, DataFrame[]>();
  for (const panel of drawing.dashboard.panels) {
    const source = panel.targets?.find((target: any) => target.panelId)?.panelId ?? panel.id;
    const frames = (drawing.frames[source] ?? []).map((frame) => dataFrameFromJSON(frame));
    found.set(panel.id, await firstValueFrom(transformDataFrame(panel.transformations ?? [], frames)));
  }
  return found;
}

interface Size {
  width: number;
  height: number;
}
interface Given extends Size {
  panel: any;
  data: DataFrame[];
  theme: GrafanaTheme2;
  timeZone: string;
  timeRange: TimeRange;
  replace: any;
  drawing: Drawing;
}

function Stat(given: Given) {
  const { panel, data, theme, timeZone, replace, width, height } = given;
  const options = panel.options;
  const values = (): FieldDisplay[] =>
    getFieldDisplayValues({
      fieldConfig: panel.fieldConfig,
      reduceOptions: options.reduceOptions,
      replaceVariables: replace,
      theme,
      data,
      sparkline: options.graphMode !== 'none',
      timeZone,
    });
  const orientation = options.orientation === 'auto' ? (width > height ? VizOrientation.Vertical : VizOrientation.Horizontal) : options.orientation;
  const draw = ({ value, width, height, count, alignmentFactors }: any) => {
    return (
      <BigValue
        value={value.display}
        count={count}
        sparkline={value.sparkline}
        colorMode={options.colorMode}
        graphMode={options.graphMode}
        justifyMode={options.justifyMode}
        textMode={options.textMode}
        disableWideLayout={!options.wideLayout}
        alignmentFactors={alignmentFactors}
        text={options.text}
        width={width}
        height={height}
        theme={theme}
      />
    );
  };
  return (
    <VizRepeater
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors as any}
      renderValue={draw as any}
      width={width}
      height={height}
      source={data}
      autoGrid={options.orientation === 'auto'}
      itemSpacing={3}
      renderCounter={0}
      orientation={orientation}
    />
  );
}

function Rows({ data, width, height, panel }: Given) {
  const frame = data[panel.options?.frameIndex ?? 0] ?? data[0];
  const minWidth = panel.type === 'table' ? panel.fieldConfig.defaults.custom?.minWidth ?? 150 : 90;
  return <Table data={frame} width={width} height={height} columnMinWidth={minWidth} showTypeIcons={false} enablePagination={false} ariaLabel={getFrameDisplayName(frame)} />;
}

const NOTICE = 44;

function Notice({ children }: { children: React.ReactNode }) {
  return <div style={{ height: NOTICE, overflow: 'hidden', opacity: 0.75, fontStyle: 'italic', fontSize: 13 }}>{children}</div>;
}

function Inside(given: Given) {
  const { panel, data, width, height, drawing, timeRange, timeZone } = given;
  const failure = drawing.failed[panel.id];
  if (failure) {
    return <Notice>{failure}</Notice>;
  }
  if (!data.some((frame) => frame.length > 0)) {
    return <Notice>{panel.fieldConfig.defaults.noValue ?? drawing.noData}</Notice>;
  }
  switch (panel.type) {
    case 'timeseries':
      return (
        <TimeSeries
          frames={data}
          width={width}
          height={height}
          timeRange={timeRange}
          timeZone={timeZone}
          legend={panel.options.legend}
          options={panel.options}
        />
      );
    case 'stat':
      return <Stat {...given} />;
    case 'table':
      return <Rows {...given} />;
    default:
      return (
        <>
          <Notice>{`${panel.type}: ${drawing.notOurs}`}</Notice>
          <Rows {...given} height={height - NOTICE} />
        </>
      );
  }
}

export function Panel(given: Omit<Given, 'replace'>) {
  const { panel, drawing, theme, timeZone, width, height } = given;
  const replace = replacer(drawing.variables);
  const data = configured(panel, given.data, theme, timeZone, replace);
  return (
    <PanelChrome title={replace(panel.title)} width={width} height={height} padding={panel.type === 'table' ? 'none' : 'md'}>
      {(innerWidth, innerHeight) => <Inside {...given} data={data} replace={replace} width={innerWidth} height={innerHeight} />}
    </PanelChrome>
  );
}
