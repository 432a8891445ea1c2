// Filters of the evidence lists: which URL parameters there are, what they are called at the server, and which of
// them this place understands. What it does not understand is shown as a chip and not sent.
import { computed, signal } from '@preact/signals';
import { IDENTIFIERS } from './types.gen';
import { isBound, type Range } from '../lib/time';
import { isLevel } from '../lib/level';
import { location, type Place } from '../routes';
import { get, type Query } from '../lib/url';

// The short names of the top bar stand for the identifiers they filter by.
export const SHORT: Readonly<Record<string, string>> = { client: 'client_id', platform: 'platform', lane: 'lane' };

// Parameters that are not filters of rows.
const VIEW = new Set(['from', 'to', 'tz', 'live', 'sel', 'sort', 'id', 'kind', 'only', 'fold', 'table']);
const SPANS = new Set(['service', 'name', 'status', 'trace_id', 'span_id', 'duration_ms_min', 'duration_ms_max', 'q']);
const LOGS = new Set(['service', 'level', 'event_name', 'trace_id', 'span_id', 'q']);
const KNOWN = new Set(IDENTIFIERS);
const DEFAULT_FROM: Readonly<Partial<Record<Place | 'unknown' | 'home' | 'welcome', string>>> = {
  traces: '-1h',
  logs: '-1h',
};

export const range = computed<Range>(() => {
  const { query, place } = location.value;
  const from = get(query, 'from');
  const to = get(query, 'to');
  const fallback = to === '' ? (DEFAULT_FROM[place] ?? '') : '';
  return { from: from !== '' && isBound(from) ? from : fallback, to: isBound(to) ? to : '' };
});

export interface FilterChip {
  readonly key: string; // the URL parameter
  readonly value: string;
  readonly label: string;
  readonly problem?: string; // why it is not applied
}

function understood(key: string, value: string, of: 'spans' | 'logs'): string | undefined {
  if (key === 'level' && of === 'logs') return isLevel(value) ? undefined : 'no such level';
  if (key === 'status' && of === 'spans')
    return ['ok', 'error', 'unset'].includes(value) ? undefined : 'no such status';
  if (key.startsWith('duration_ms_') && !(Number(value) >= 0)) return 'not a number of milliseconds';
  if ((of === 'spans' ? SPANS : LOGS).has(key)) return undefined;
  if (key in SHORT || KNOWN.has(key) || key.startsWith('attr.') || key.startsWith('resource.')) return undefined;
  return 'not a filter of this place';
}

export function chips(query: Query, of: 'spans' | 'logs', hidden: readonly string[]): readonly FilterChip[] {
  const out: FilterChip[] = [];
  for (const [key, value] of query) {
    const bound = key === 'from' || key === 'to';
    if (bound && !isBound(value)) out.push({ key, value, label: key, problem: 'not a time' });
    if (VIEW.has(key)) continue;
    const problem = understood(key, value, of);
    if (problem === undefined && hidden.includes(key)) continue;
    const label = (SHORT[key] ?? key).replace(/^attr\./, '');
    out.push(problem === undefined ? { key, value, label } : { key, value, label, problem });
  }
  return out;
}

// The question to the server that the URL asks.
export function question(query: Query, of: 'spans' | 'logs', time: Range): readonly (readonly [string, string])[] {
  const out: [string, string][] = [];
  if (time.from !== '') out.push(['from', time.from]);
  if (time.to !== '') out.push(['to', time.to]);
  for (const [key, value] of query) {
    if (VIEW.has(key) || understood(key, value, of) !== undefined) continue;
    // Several values of one parameter are alternatives.
    for (const one of key === 'q' || key.startsWith('attr.') ? [value] : value.split(','))
      if (one !== '') out.push([SHORT[key] ?? key, one]);
  }
  return out;
}

// A row of an answer, as far as what filters ask for is concerned.
export interface Seen {
  readonly ts: string;
  readonly trace_id: string;
  readonly service_name: string;
  readonly event_name?: string;
  readonly ids: Readonly<Record<string, string | undefined>>;
  readonly attrs: Readonly<Record<string, unknown>>;
}

// Values of identifiers and services seen in answers, offered where one is to be typed.
const SEEN_ROWS_MAX = 500;
const SEEN_VALUES_MAX = 200;
const SEEN_LENGTH_MAX = 200;
const seen = signal<ReadonlyMap<string, ReadonlySet<string>>>(new Map());
let latest: readonly Seen[] = []; // attributes are too many to keep apart: they are looked for when asked
export function noteSeen(rows: readonly Seen[]): void {
  latest = [...rows, ...latest].slice(0, SEEN_ROWS_MAX);
  const next = new Map(seen.peek());
  let grew = false;
  const add = (kind: string, value: string) => {
    const before = next.get(kind);
    if (value === '' || value.length > SEEN_LENGTH_MAX) return;
    if (before?.has(value) || (before?.size ?? 0) >= SEEN_VALUES_MAX) return;
    next.set(kind, new Set([...(before ?? []), value]));
    grew = true;
  };
  for (const row of rows.slice(0, SEEN_ROWS_MAX)) {
    add('service', row.service_name);
    add('trace_id', row.trace_id);
    add('event_name', row.event_name ?? '');
    for (const [key, value] of Object.entries(row.ids)) add(key, value ?? '');
  }
  if (grew) seen.value = next;
}
// Of a filter by the name it has in the address: client, run_id, attr.queue.
export function seenValues(filter: string): readonly string[] {
  if (!filter.startsWith('attr.')) return [...(seen.value.get(SHORT[filter] ?? filter) ?? [])].sort();
  const name = filter.slice('attr.'.length);
  const values = latest
    .map((row) => row.attrs[name])
    .filter((v) => ['string', 'number', 'boolean'].includes(typeof v))
    .map(String);
  return offered(values);
}
export function seenAttributes(): readonly string[] {
  return offered(latest.flatMap((row) => Object.keys(row.attrs)));
}
function offered(values: readonly string[]): readonly string[] {
  const short = values.filter((v) => v !== '' && v.length <= SEEN_LENGTH_MAX);
  return [...new Set(short)].slice(0, SEEN_VALUES_MAX).sort();
}

export function zone(): 'local' | 'utc' {
  return get(location.value.query, 'tz') === 'utc' ? 'utc' : 'local';
}
export function paused(): boolean {
  return get(location.value.query, 'live') === '0';
}
