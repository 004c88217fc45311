// The options of fields, which Grafana's application registers and its packages only know how to apply.
import {
  applyFieldOverrides,
  displayNameOverrideProcessor,
  FieldConfigOptionsRegistry,
  FieldConfigPropertyItem,
  FieldConfigSource,
  DataFrame,
  GrafanaTheme2,
  identityOverrideProcessor,
  numberOverrideProcessor,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
  ScopedVars,
} from '@grafana/data';

const STANDARD: Record<string, (value: any, context: any, settings?: any) => any> = {
  unit: unitOverrideProcessor,
  min: numberOverrideProcessor,
  max: numberOverrideProcessor,
  decimals: numberOverrideProcessor,
  displayName: displayNameOverrideProcessor,
  noValue: stringOverrideProcessor,
  color: identityOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
  mappings: valueMappingsOverrideProcessor,
  filterable: identityOverrideProcessor,
};
// What Grafana's own panels begin with, where a dashboard says nothing.
const CUSTOM: Record<string, Record<string, any>> = {
  timeseries: {
    drawStyle: 'line',
    lineInterpolation: 'linear',
    lineWidth: 1,
    lineStyle: { fill: 'solid' },
    fillOpacity: 0,
    fillBelowTo: undefined,
    gradientMode: 'none',
    barAlignment: 0,
    barWidthFactor: 0.6,
    barMaxWidth: 200,
    showPoints: 'auto',
    pointSize: 5,
    pointColor: undefined,
    spanNulls: false,
    insertNulls: false,
    stacking: { mode: 'none', group: 'A' },
    axisPlacement: 'auto',
    axisLabel: undefined,
    axisSoftMin: undefined,
    axisSoftMax: undefined,
    axisWidth: undefined,
    axisColorMode: 'text',
    axisBorderShow: false,
    axisCenteredZero: false,
    axisGridShow: undefined,
    scaleDistribution: { type: 'linear' },
    thresholdsStyle: { mode: 'off' },
    transform: undefined,
    hideFrom: { tooltip: false, viz: false, legend: false },
  },
  table: {
    align: 'auto',
    cellOptions: { type: 'auto' },
    inspect: false,
    filterable: false,
    width: undefined,
    minWidth: undefined,
    hidden: undefined,
  },
};

function item(id: string, process: any, custom: boolean): FieldConfigPropertyItem {
  return { id: custom ? `custom.${id}` : id, path: id, name: id, isCustom: custom, process, settings: { expandTemplateVars: id === 'displayName' }, shouldApply: () => true } as any;
}

function registry(panel: string): FieldConfigOptionsRegistry {
  const standard = Object.entries(STANDARD).map(([id, process]) => item(id, process, false));
  const custom = Object.keys(CUSTOM[panel] ?? {}).map((id) => item(id, identityOverrideProcessor, true));
  return new FieldConfigOptionsRegistry(() => [...standard, ...custom]);
}

/** Put what is known in the place of `${name}`; of `${__field.labels.x}` what the field says. */
export function replacer(variables: Record<string, string>) {
  return (text?: string, scoped?: ScopedVars): string =>
    (text ?? '').replace(/\$\{([^}:]+)(?::\w+)?\}|\$(\w+)/g, (all, braced, plain) => {
      const [name, ...path] = String(braced ?? plain).split('.');
      if (name === '__field') {
        const field: any = (scoped as any)?.__dataContext?.value?.field ?? scoped?.__field?.value;
        return String(path.reduce((held, key) => held?.[key], field) ?? '');
      }
      return variables[name] ?? all;
    });
}

export function configured(
  panel: { type: string; fieldConfig: FieldConfigSource },
  data: DataFrame[],
  theme: GrafanaTheme2,
  timeZone: string,
  replaceVariables: any
): DataFrame[] {
  const custom = { ...(CUSTOM[panel.type] ?? {}), ...(panel.fieldConfig.defaults.custom ?? {}) };
  const fieldConfig = {
    defaults: {
      color: { mode: panel.type === 'timeseries' ? 'palette-classic' : 'thresholds' },
      thresholds: { mode: 'absolute', steps: [{ color: 'green', value: -Infinity }] },
      mappings: [],
      ...panel.fieldConfig.defaults,
      custom,
    },
    overrides: panel.fieldConfig.overrides ?? [],
  } as FieldConfigSource;
  return applyFieldOverrides({
    data,
    fieldConfig,
    fieldConfigRegistry: registry(panel.type),
    replaceVariables,
    theme,
    timeZone,
  });
}
