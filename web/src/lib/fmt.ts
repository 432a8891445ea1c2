// How numbers, durations, sizes, instants and foreign text are written everywhere. Pure; the locale is the browser's
// unless `setLocale` says otherwise (tests do).

let locale: string | undefined;
let count0 = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
let compact1 = new Intl.NumberFormat(locale, { notation: 'compact', maximumFractionDigits: 1 });
let fixed1 = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export function setLocale(next: string | undefined): void {
  locale = next;
  count0 = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
  compact1 = new Intl.NumberFormat(locale, { notation: 'compact', maximumFractionDigits: 1 });
  fixed1 = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
}

// The narrow no-break space between a number and its unit would be lost in copies, so the plain one is used.
export const NBSP = '\u00a0';

export function count(value: number): string {
  return Number.isFinite(value) ? count0.format(value) : '—';
}

// For axes and for places where four digits do not fit: 2K, 1.4M.
export function short(value: number): string {
  return Number.isFinite(value) ? compact1.format(value) : '—';
}

// Rates: whole from ten, one decimal below, never "0" for something that moves.
export function rate(perSecond: number): string {
  if (!Number.isFinite(perSecond)) return '—';
  if (perSecond > 0 && perSecond < 0.05) return '<0.1';
  return perSecond < 10 && perSecond > 0 ? fixed1.format(perSecond) : count0.format(perSecond);
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

// 640 µs · 234 ms · 1.6 s · 4 m 10 s · 3 h 12 m · 2 d 4 h
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return '—';
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms === 0) return `0${NBSP}ms`;
  if (ms < 0.9995) return `${Math.max(1, Math.round(ms * 1000))}${NBSP}µs`;
  if (ms < 9.95) return `${trim1(ms)}${NBSP}ms`;
  if (ms < 999.5) return `${Math.round(ms)}${NBSP}ms`;
  if (ms < 59_950) return `${trim1(ms / 1000)}${NBSP}s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return pair(Math.floor(seconds / 60), 'm', seconds % 60, 's');
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return pair(Math.floor(minutes / 60), 'h', minutes % 60, 'm');
  const hours = Math.round(minutes / 60);
  return pair(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

function trim1(value: number): string {
  return fixed1.format(value).replace(/[.,]0$/, '');
}

function pair(a: number, ua: string, b: number, ub: string): string {
  return b === 0 ? `${a}${NBSP}${ua}` : `${a}${NBSP}${ua} ${b}${NBSP}${ub}`;
}

// One unit, for lists: 33 m, 2 h, 4 d.
export function age(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s}${NBSP}s`;
  if (s < 3600) return `${Math.floor(s / 60)}${NBSP}m`;
  if (s < 86_400) return `${Math.floor(s / 3600)}${NBSP}h`;
  return `${Math.floor(s / 86_400)}${NBSP}d`;
}

export function bytes(value: number): string {
  if (!Number.isFinite(value)) return '—';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  let n = value;
  while (n >= 1023.95 && at < units.length - 1) {
    n /= 1024;
    at += 1;
  }
  return `${at === 0 ? count0.format(n) : trim1(n)}${NBSP}${units[at]}`;
}

// 0.0 % is said of true zero alone.
export function percent(share: number): string {
  if (!Number.isFinite(share)) return '—';
  if (share > 0 && share < 0.001) return `<0.1${NBSP}%`;
  return `${fixed1.format(share * 100)}${NBSP}%`;
}

export type Zone = 'local' | 'utc';
const clocks = new Map<string, Intl.DateTimeFormat>();
function format(zone: Zone, key: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const id = `${locale}|${zone}|${key}`;
  let made = clocks.get(id);
  if (!made) {
    made = new Intl.DateTimeFormat(locale, {
      ...options,
      hourCycle: 'h23',
      ...(zone === 'utc' ? { timeZone: 'UTC' } : {}),
    });
    clocks.set(id, made);
  }
  return made;
}
const HM: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit' };
const HMS: Intl.DateTimeFormatOptions = { ...HM, second: '2-digit' };
const HMSF: Intl.DateTimeFormatOptions = { ...HMS, fractionalSecondDigits: 3 };
const DM: Intl.DateTimeFormatOptions = { day: 'numeric', month: 'short' };

export function clock(at: number, zone: Zone): string {
  return format(zone, 'hms', HMS).format(at);
}
export function clockMs(at: number, zone: Zone): string {
  return format(zone, 'hmsf', HMSF).format(at);
}
export function clockShort(at: number, zone: Zone): string {
  return format(zone, 'hm', HM).format(at);
}
export function day(at: number, zone: Zone): string {
  return format(zone, 'dm', DM).format(at);
}
export function dayClock(at: number, zone: Zone): string {
  return `${day(at, zone)} ${clockShort(at, zone)}`;
}
// The ticks of a time axis: the day where it begins or is first seen, the time elsewhere; no two alike.
export function tickLabels(at: readonly number[], wholeMs: number, zone: Zone): readonly string[] {
  if (wholeMs <= 180_000) return at.map((t) => clock(t, zone));
  if (wholeMs <= 36 * 3_600_000) return at.map((t) => clockShort(t, zone));
  let before = '';
  return at.map((t) => {
    const today = day(t, zone);
    if (today === before) return clockShort(t, zone);
    before = today;
    return clockShort(t, zone) === '00:00' ? today : dayClock(t, zone);
  });
}
// Today without its date; milliseconds because this is evidence.
export function instant(at: number, zone: Zone, now: number): string {
  const date = day(at, zone);
  return date === day(now, zone) ? clockMs(at, zone) : `${date} ${clockMs(at, zone)}`;
}

// Whether a list that reaches back to `oldest` needs dates, and so a wider column.
export function needsDates(oldest: number, zone: Zone, now: number): boolean {
  return day(oldest, zone) !== day(now, zone);
}

// 4bf92f35…0e4736: identifiers differ at both ends.
export function middle(id: string, max = 18): string {
  if (id.length <= max) return id;
  const tail = Math.floor((max - 1) / 3);
  return `${id.slice(0, max - 1 - tail)}…${id.slice(-tail)}`;
}

// Characters that would hide, reorder or break a line of foreign text: C0/C1 controls, line separators, bidirectional
// overrides and isolates, zero-width characters, the byte order mark. A joiner inside an emoji is left alone by
// `printable`, which shows each of the others as its code.
const HIDDEN =
  // oxlint-disable-next-line no-control-regex, no-misleading-character-class
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
export function printable(text: string): string {
  return text.replace(HIDDEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
// One line of at most `max` characters for a table cell; the whole text is in the detail pane.
export function oneLine(text: string, max = 400): string {
  const cut = text.length > max ? `${text.slice(0, max).replace(/[\ud800-\udbff]$/, '')}…` : text;
  return printable(cut.replace(/\s+/g, ' '));
}

// What an attribute's value looks like in a list of attributes.
export function attribute(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value === null || value === undefined) return '—';
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  return JSON.stringify(value, undefined, 1).replace(/\n\s*/g, ' ');
}
