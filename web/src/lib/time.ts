// Instants and time ranges. A range in a URL is `from` and `to`, each relative to now (`-24h`) or RFC 3339; no `to`
// means now. The server answers with nanoseconds, which a number cannot hold: they are kept as text and compared as
// milliseconds plus the digits below.

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

export type Range = { readonly from: string; readonly to: string };

export const PRESETS: readonly { readonly from: string; readonly label: string }[] = [
  { from: '-15m', label: 'Last 15 min' },
  { from: '-1h', label: 'Last 1 h' },
  { from: '-6h', label: 'Last 6 h' },
  { from: '-24h', label: 'Last 24 h' },
  { from: '-7d', label: 'Last 7 d' },
  { from: '-30d', label: 'Last 30 d' },
];

export function relativeMs(text: string): number | undefined {
  const match = /^-(\d{1,6})([smhdw])$/.exec(text);
  return match ? Number(match[1]) * UNITS[match[2]!]! : undefined;
}

export function isInstant(text: string): boolean {
  return (
    /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?$/.test(text) && !Number.isNaN(Date.parse(text))
  );
}

// A bound that can be used: relative or RFC 3339. Anything else is shown as it is and never sent.
export function isBound(text: string): boolean {
  return text === '' || text === 'now' || relativeMs(text) !== undefined || isInstant(text);
}

export function boundMs(text: string, now: number): number {
  if (text === '' || text === 'now') return now;
  const relative = relativeMs(text);
  return relative !== undefined ? now - relative : Date.parse(text);
}

export function isRelative(range: Range): boolean {
  return (range.to === '' || range.to === 'now') && (range.from === '' || relativeMs(range.from) !== undefined);
}

// For a link that shows the same tomorrow.
export function absolute(range: Range, now: number): Range {
  return {
    from: range.from === '' ? '' : new Date(boundMs(range.from, now)).toISOString(),
    to: new Date(boundMs(range.to, now)).toISOString(),
  };
}

export function rangeLabel(range: Range, say: (ms: number) => string): string {
  if (range.from === '' && range.to === '') return 'All time';
  if (isRelative(range)) {
    const preset = PRESETS.find((p) => p.from === range.from);
    return preset ? preset.label : `Last ${range.from.slice(1, -1)} ${range.from.slice(-1)}`;
  }
  const now = Date.now();
  const from = range.from === '' ? '' : say(boundMs(range.from, now));
  return `${from} – ${range.to === '' || range.to === 'now' ? 'now' : say(boundMs(range.to, now))}`.trim();
}

// Milliseconds of an RFC 3339 instant with up to nine decimals.
export function ms(ts: string): number {
  const dot = ts.indexOf('.');
  if (dot < 0 || ts.length - dot <= 5) return Date.parse(ts);
  return Date.parse(`${ts.slice(0, dot + 4)}Z`);
}

// The same with the microseconds kept as a fraction, for positions on a time axis.
export function preciseMs(ts: string): number {
  const dot = ts.indexOf('.');
  if (dot < 0) return Date.parse(ts);
  const digits = ts.slice(dot + 1, ts.length - 1).padEnd(9, '0');
  return Date.parse(`${ts.slice(0, dot)}Z`) + Number(digits) / 1e6;
}
