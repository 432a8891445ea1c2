import css from '../../src/styles/tokens.css?raw';
import { describe, expect, it } from 'vitest';

// Contrast and colour-vision distances of the tokens, so that a colour cannot be changed into one that some cannot read.
const read = (block: string) =>
  Object.fromEntries([...block.matchAll(/--([\w-]+):\s*(#[0-9a-f]{6})/g)].map((m) => [m[1]!, m[2]!]));
const sources = Object.values(
  import.meta.glob<string>(['../../src/**/*.{ts,tsx,css}', '!**/tokens.css'], {
    query: '?raw',
    import: 'default',
    eager: true,
  }),
).join('\n');
const [lightBlock, darkBlock] = css.split('[data-theme=dark]') as [string, string];
const themes = { light: read(lightBlock), dark: read(darkBlock) };

type Rgb = readonly [number, number, number];
const rgb = (hex: string): Rgb =>
  [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16) / 255) as unknown as Rgb;
const linear = (c: number) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const luminance = (hex: string) => {
  const [r, g, b] = rgb(hex).map(linear) as unknown as Rgb;
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a: string, b: string) => {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p) as [number, number];
  return (x + 0.05) / (y + 0.05);
};
// Machado, Oliveira and Fernandes 2009, severity 1.
const VISION: Readonly<Record<string, readonly Rgb[]>> = {
  protan: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deutan: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritan: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};
const lab = (lin: readonly number[]) => {
  const [r, g, b] = lin.map((v) => Math.min(1, Math.max(0, v))) as [number, number, number];
  const f = (t: number) => (t > 216 / 24_389 ? Math.cbrt(t) : ((24_389 / 27) * t + 16) / 116);
  const x = f((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
  const y = f(0.2126729 * r + 0.7151522 * g + 0.072175 * b);
  const z = f((0.0193339 * r + 0.119192 * g + 0.9503041 * b) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)] as const;
};
const seen = (hex: string, kind: string) => {
  const from = rgb(hex).map(linear);
  return lab(VISION[kind]!.map((row) => row.reduce((sum, k, i) => sum + k * from[i]!, 0)));
};
const distance = (a: readonly number[], b: readonly number[]) => Math.hypot(...a.map((v, i) => v - b[i]!));

describe.each(Object.entries(themes))('%s', (_name, t) => {
  it.each(['ink', 'ink-2', 'ink-3', 'act', 'ok', 'warn', 'bad', 'run', 'hold', 'mute'])(
    '%s can be read on a card and on the ground',
    (name) => {
      expect(contrast(t[name]!, t.surface!)).toBeGreaterThanOrEqual(4.5);
      expect(contrast(t[name]!, t.bg!)).toBeGreaterThanOrEqual(4.5);
    },
  );
  it.each(['ok', 'warn', 'bad', 'run', 'hold', 'mute'])(
    '%s can be read on its own tint, and its fill is seen',
    (name) => {
      expect(contrast(t[name]!, t[`${name}-bg`]!)).toBeGreaterThanOrEqual(4.5);
      expect(contrast(t[`${name}-fill`]!, t.surface!)).toBeGreaterThanOrEqual(3);
    },
  );
  it('a selected row can be read', () => {
    for (const name of ['ink', 'ink-2', 'act', 'bad', 'warn'])
      expect(contrast(t[name]!, t['act-bg']!)).toBeGreaterThanOrEqual(4.5);
  });
  it.each(Object.keys(VISION))('states are told apart under %s vision', (kind) => {
    const states = ['ok-fill', 'warn-fill', 'bad-fill', 'hold-fill'];
    for (const a of states) {
      for (const b of states)
        if (a < b) expect(distance(seen(t[a]!, kind), seen(t[b]!, kind)), `${a} ${b}`).toBeGreaterThanOrEqual(18);
    }
  });
});

// A name may be put together from a tone: `${tone}-fill`.
const TONED = /^(ok|warn|bad|run|hold|mute)(-fill|-bg)?$/;
it('every token is used', () => {
  const names = [...new Set([...css.matchAll(/--([\w-]+):/g)].map((m) => m[1]!))];
  expect(names.length).toBeGreaterThan(20);
  expect(names.filter((n) => !TONED.test(n) && !new RegExp(`--${n}(?![\\w-])`).test(sources))).toEqual([]);
});
