// Draws one dashboard. `window.draw(drawing)` is called by tools/dashboard_pictures and resolves when it stands there.
import * as React from 'react';
import { createRoot } from 'react-dom/client';
import { createTheme, dateTime, dateTimeFormat, DataFrame, GrafanaTheme2, ThemeContext, TimeRange } from '@grafana/data';
import { GlobalStyles } from '@grafana/ui';
import { dataOf, Drawing, Panel } from './panels';

const WIDTH = 1600;
const MARGIN = 16;
const GAP = 8;
const ROW = 30;
const COLUMNS = 24;
const FONTS = 'Inter, "Helvetica Neue", NanumGothic, Arial, sans-serif';

interface Page extends Drawing {
  theme: 'light' | 'dark';
  note: string;
}

function place(at: { x: number; y: number; w: number; h: number }) {
  const column = (WIDTH - 2 * MARGIN + GAP) / COLUMNS;
  return {
    left: Math.round(at.x * column),
    top: at.y * (ROW + GAP),
    width: Math.round(at.w * column - GAP),
    height: at.h * (ROW + GAP) - GAP,
  };
}

/** What went wrong in a panel; whoever takes the picture asks. */
const problems: string[] = [];
(window as any).problems = problems;

class Guard extends React.Component<{ name: string; children: React.ReactNode }, { failed: boolean }> {
  state = { failed: false };
  static getDerivedStateFromError() {
    return { failed: true };
  }
  componentDidCatch(error: Error) {
    problems.push(`${this.props.name}: ${error.message}`);
  }
  render() {
    return this.state.failed ? null : this.props.children;
  }
}

function Head({ page, theme, range }: { page: Page; theme: GrafanaTheme2; range: TimeRange }) {
  const timeZone = page.dashboard.timezone;
  const format = 'YYYY-MM-DD HH:mm:ss';
  const chosen = (page.dashboard.templating?.list ?? []).map((variable: any) => `${variable.label ?? variable.name}: ${page.variables[variable.name]}`);
  return (
    <div style={{ display: 'flex', alignItems: 'baseline', gap: 24, marginBottom: 12 }}>
      <h1 style={{ fontSize: 22, margin: 0 }}>{page.dashboard.title}</h1>
      {chosen.map((text: string) => (
        <span key={text}>{text}</span>
      ))}
      <span style={{ marginLeft: 'auto', color: theme.colors.text.secondary }}>
        {dateTimeFormat(range.from, { timeZone, format })} – {dateTimeFormat(range.to, { timeZone, format })} ({timeZone})
      </span>
    </div>
  );
}

function Board({ page, data, theme }: { page: Page; data: Map<number, DataFrame[]>; theme: GrafanaTheme2 }) {
  const from = dateTime(page.from);
  const to = dateTime(page.to);
  const range: TimeRange = { from, to, raw: { from, to } };
  const panels = page.dashboard.panels;
  const height = Math.max(...panels.map((panel: any) => (panel.gridPos.y + panel.gridPos.h) * (ROW + GAP)));
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div id="board" style={{ width: WIDTH, padding: MARGIN, background: theme.colors.background.canvas, color: theme.colors.text.primary }}>
        <Head page={page} theme={theme} range={range} />
        <div style={{ position: 'relative', height }}>
          {panels.map((panel: any) => {
            const { left, top, width, height } = place(panel.gridPos);
            return (
              <div key={panel.id} style={{ position: 'absolute', left, top, width, height }}>
                <Guard name={panel.title}>
                <Panel panel={panel} data={data.get(panel.id) ?? []} width={width} height={height} theme={theme} timeZone={page.dashboard.timezone} timeRange={range} drawing={page} />
                </Guard>
              </div>
            );
          })}
        </div>
        <p style={{ margin: '8px 0 0', color: theme.colors.text.secondary }}>{page.note}</p>
      </div>
    </ThemeContext.Provider>
  );
}

(window as any).draw = async (page: Page) => {
  const theme = createTheme({ colors: { mode: page.theme }, typography: { fontFamily: FONTS } });
  const data = await dataOf(page);
  createRoot(document.getElementById('root')!).render(<Board page={page} data={data} theme={theme} />);
};
