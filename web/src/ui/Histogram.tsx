// Counts over time in stacked bars, three tones at most: everything calm in one, warnings, errors. Drag chooses a
// stretch of time. The same numbers are there as a table.
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { shownTheme } from '../data/prefs';
import { clock, count, day, short, tickLabels, type Zone } from '../lib/fmt';
import css from './Histogram.module.css';

export interface Bars {
  readonly label: string;
  readonly token: string; // a colour of tokens.css
  readonly faded?: boolean; // where there is much of it and little to say
  readonly counts: readonly number[];
}

export function Histogram(props: {
  readonly label: string;
  readonly times: readonly number[]; // start of each bucket, ms
  readonly widthMs: number;
  readonly series: readonly Bars[]; // bottom to top
  readonly zone: Zone;
  readonly height: number;
  readonly onSelect: (from: number, to: number) => void;
}) {
  const box = useRef<HTMLDivElement>(null);
  const tip = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const latest = useRef(props);
  latest.current = props;
  const { times, series, zone } = props;

  useEffect(() => {
    const element = box.current!;
    const style = getComputedStyle(document.documentElement);
    const token = (name: string) => style.getPropertyValue(name).trim();
    const font = `500 10.5px ${style.getPropertyValue('--font-ui')}`;
    const bars = uPlot.paths.bars!({ size: [0.82, 24], gap: 0 });
    const axis = { stroke: token('--ink-3'), font, ticks: { show: false } };
    const made = new uPlot(
      {
        width: element.clientWidth,
        height: props.height,
        ms: 1,
        padding: [6, 20, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { show: false } },
        scales: {
          x: { time: true, range: () => bounds(latest.current) },
          y: { range: (_u, _min, max) => [0, Math.max(1, max)] },
        },
        axes: [
          {
            ...axis,
            size: 22,
            gap: 4,
            grid: { show: false },
            space: 76,
            values: (_u, at) => [...tickLabels(at, wholeMs(latest.current), latest.current.zone)],
          },
          {
            ...axis,
            size: 44,
            gap: 6,
            grid: { stroke: token('--grid'), width: 1 },
            space: 26,
            incrs: COUNT_STEPS,
            values: (_u, at) => at.map((v) => short(v)),
          },
        ],
        series: [
          {},
          // The tallest first, so that each lower sum is drawn over it.
          ...series.toReversed().map((s) => ({
            paths: bars,
            fill: token(s.token) + (s.faded ? '99' : ''),
            width: 0,
            points: { show: false },
          })),
        ],
        hooks: {
          setSelect: [
            (u) => {
              if (u.select.width < 3) return;
              const from = u.posToVal(u.select.left, 'x');
              const to = u.posToVal(u.select.left + u.select.width, 'x');
              u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              latest.current.onSelect(Math.floor(from), Math.ceil(to));
            },
          ],
          setCursor: [(u) => showTip(u, tip.current!, latest.current)],
        },
      },
      stacked(props),
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: props.height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [shownTheme.value, zone, props.height, series.length]);

  useEffect(() => {
    plot.current?.setData(stacked(props));
  }, [times, series]);

  return (
    <div class={css.box}>
      <div ref={box} role="img" aria-label={props.label} style={{ height: `${props.height}px` }} />
      <div ref={tip} class={css.tip} hidden />
    </div>
  );
}

const COUNT_STEPS = [
  1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1e3, 2e3, 2.5e3, 5e3, 1e4, 2e4, 2.5e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6,
  1e7, 5e7, 1e8, 1e9,
];

function bounds(p: { readonly times: readonly number[]; readonly widthMs: number }): [number, number] {
  const half = p.widthMs / 2;
  return [(p.times[0] ?? 0) - half * 0.2, (p.times.at(-1) ?? 1) + p.widthMs + half * 0.2];
}

const DATED_MS = 12 * 3_600_000; // a longer chart may show the same time twice
function wholeMs(p: { readonly times: readonly number[] }): number {
  return (p.times.at(-1) ?? 0) - (p.times[0] ?? 0);
}

// uPlot has no stacks: sums from the bottom, drawn from the top down. Bars are centred on their bucket.
function stacked(p: {
  readonly times: readonly number[];
  readonly widthMs: number;
  readonly series: readonly Bars[];
}): uPlot.AlignedData {
  const sums: number[][] = [];
  let below: readonly number[] = p.times.map(() => 0);
  for (const s of p.series) {
    const sum = s.counts.map((n, i) => n + (below[i] ?? 0));
    sums.push(sum);
    below = sum;
  }
  return [
    p.times.map((t) => t + p.widthMs / 2),
    ...sums.toReversed().map((s) => s.map((v) => (v === 0 ? null : v))),
  ] as uPlot.AlignedData;
}

function showTip(
  u: uPlot,
  tip: HTMLDivElement,
  p: {
    readonly times: readonly number[];
    readonly widthMs: number;
    readonly series: readonly Bars[];
    readonly zone: Zone;
  },
): void {
  const { idx, left } = u.cursor;
  if (idx === null || idx === undefined || left === undefined || left < 0) {
    tip.hidden = true;
    return;
  }
  const from = p.times[idx]!;
  const parts = p.series.filter((s) => (s.counts[idx] ?? 0) > 0).map((s) => `${count(s.counts[idx]!)} ${s.label}`);
  const date = wholeMs(p) > DATED_MS ? `${day(from, p.zone)} ` : '';
  tip.textContent = `${date}${clock(from, p.zone)} – ${clock(from + p.widthMs, p.zone)}  ${parts.length > 0 ? parts.join(' · ') : 'nothing'}`;
  tip.hidden = false;
  const width = tip.offsetWidth;
  tip.style.left = `${Math.min(Math.max(0, left + 44 - width / 2), u.width - width)}px`;
}
