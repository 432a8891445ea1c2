// Brings a journey together: what the identifier is known as, the outlines of its traces, and the logs at their
// instant, as one tree.
import { get, Problem, type KindSummary, type Log, type Span, type TraceOutline } from '../../data/api';
import type { Range } from '../../lib/time';
import { preciseMs } from '../../lib/time';
import { isError } from '../../lib/level';
import { buildTree, type Tree, type TreeLog, type TreeTrace } from '../../lib/tree';
import { eventLine, type Line } from './event_line';

export const TRACES_MAX = 20;
const LOGS_PER_TRACE_MAX = 1000;
const ITEM_PAGES_MAX = 2;
const LOGS_WAIT_MS = 400; // rows are shown without logs when those take longer

type OutlineSpan = TraceOutline['spans'][number];

export interface TraceView {
  readonly traceId: string;
  readonly startMs: number;
  readonly names: readonly string[];
  readonly services: readonly string[];
  readonly spans: readonly OutlineSpan[];
  readonly cut: boolean; // the trace has more spans than these
}

export interface Journey {
  readonly id: string;
  readonly kinds: readonly KindSummary[];
  readonly kind: string; // the one shown; '' when it is known as none
  readonly traces: readonly TraceView[];
  readonly tracesKnown: number;
  readonly logs: readonly Line[]; // log records and events, by time
  readonly eventCount: number; // how many of them are events
  readonly logsPending: boolean;
  readonly more: boolean; // some logs or items were left out
  readonly cut: boolean; // some trace has more spans than are here: counts are of those that are
  readonly partial: boolean; // a part of the store did not answer
  readonly tree: Tree;
  readonly services: readonly string[]; // in order of appearance
}

const HEX_TRACE = /^[0-9a-f]{32}$/i;

export async function loadJourney(
  id: string,
  kind: string,
  range: Range,
  abort: AbortSignal,
  onLate: (change: (journey: Journey) => Journey) => void,
): Promise<Journey> {
  const time = { from: range.from, to: range.to };
  const early = HEX_TRACE.test(id) && (kind === '' || kind === 'trace_id') ? outline(id, abort) : undefined;
  // Handled below; until then a refusal must not count as unhandled.
  early?.catch(() => undefined);
  const resolved = get('/api/v1/resolve', {}, { id }, abort);
  resolved.catch(() => undefined);

  let traces: TraceView[] = [];
  let looseLogs: Log[] = [];
  const events: Line[] = [];
  let tracesKnown = 0;
  let more = false;
  let partial = false;
  let shown = kind;
  const direct = early ? await early.catch(missingIsUndefined) : undefined;
  if (direct) {
    traces = [direct];
    tracesKnown = 1;
    shown = 'trace_id';
  }
  // What the identifier is else known as is not worth waiting for when the trace is there already.
  let kinds: readonly KindSummary[] = direct
    ? [{ kind: 'trace_id', traces: 1, logs: 0, events: 0, first_ts: '', last_ts: '' }]
    : (await resolved).kinds;
  if (!direct) {
    if (shown === '') shown = kinds.toSorted((a, b) => known(b) - known(a))[0]?.kind ?? '';
    if (kinds.length === 0 && range.from === '' && range.to === '') return empty(id, kinds);
    const spans: Span[] = [];
    let skipped: ReadonlySet<string> = new Set(); // traces beyond those shown
    let cursor = '';
    for (let page = 0; page < ITEM_PAGES_MAX; page += 1) {
      const answer = await get(
        '/api/v1/journeys/{value}',
        { value: id },
        { ...time, kind: shown, limit: 1000, cursor },
        abort,
      ).catch(missingIsUndefined);
      if (!answer) break;
      if (page === 0) {
        tracesKnown = answer.trace_ids.length;
        skipped = new Set(answer.trace_ids.slice(TRACES_MAX));
        const found = await Promise.all(
          answer.trace_ids.slice(0, TRACES_MAX).map((t) => outline(t, abort).catch(missingIsUndefined)),
        );
        traces = found.filter((t) => t !== undefined);
      }
      partial ||= answer.partial;
      for (const item of answer.items) {
        if (skipped.has(item.trace_id)) continue;
        if (item.type === 'span') spans.push(item);
        else if (item.type === 'log') looseLogs.push(item);
        else events.push(eventLine(item));
      }
      cursor = answer.next_cursor ?? '';
      if (cursor === '') break;
    }
    more = cursor !== '' || tracesKnown > TRACES_MAX;
    // Spans of traces whose outline was not to be had are shown by themselves.
    const have = new Set(traces.map((t) => t.traceId));
    traces.push(...viewsOf(spans.filter((s) => !have.has(s.trace_id))));
    const all = new Set(traces.map((t) => t.traceId));
    looseLogs = looseLogs.filter((l) => l.trace_id === '' || !all.has(l.trace_id));
  }
  if (traces.length === 0 && looseLogs.length === 0 && events.length === 0 && !direct) {
    // A trace of which only logs survive is known by those.
    if (shown !== 'trace_id') return empty(id, kinds);
  }

  const wanted = traces.length > 0 || looseLogs.length > 0 || events.length > 0 ? traces.map((t) => t.traceId) : [id];
  // A trace that was opened by its own id has not been asked for its events yet.
  const eventsOfTrace = direct
    ? get(
        '/api/v1/journeys/{value}',
        { value: id },
        { ...time, kind: 'trace_id', items: 'event', limit: 1000 },
        abort,
      ).then(
        (answer) => {
          for (const item of answer.items) if (item.type === 'event') events.push(eventLine(item));
        },
        () => undefined,
      )
    : undefined;
  const fetchedLogs = Promise.all(
    wanted.map((traceId) =>
      get(
        '/api/v1/logs',
        {},
        { trace_id: traceId, order: 'asc', limit: LOGS_PER_TRACE_MAX, from: time.from, to: time.to },
        abort,
      ),
    ),
  );
  const fetched = Promise.all([fetchedLogs, eventsOfTrace]).then(([pages]) => pages);
  const assemble = (pages: Awaited<typeof fetched>, pending: boolean): Journey => {
    const logs: Line[] = [...looseLogs, ...events, ...pages.flatMap((p) => p.logs)].sort((a, b) =>
      a.ts < b.ts ? -1 : a.ts > b.ts ? 1 : 0,
    );
    return {
      id,
      kinds,
      kind: shown,
      traces,
      tracesKnown,
      logs,
      eventCount: events.length,
      logsPending: pending,
      cut: traces.some((t) => t.cut),
      more: more || pages.some((p) => p.next_cursor !== null),
      partial: partial || pages.some((p) => p.partial),
      tree: treeOf(traces, logs),
      services: servicesOf(traces, logs),
    };
  };
  // Whatever comes later than the first picture is put into it; never before that picture is there.
  const later = (change: (journey: Journey) => Journey) => setTimeout(() => abort.aborted || onLate(change));
  const first = await Promise.race([
    fetched,
    new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), LOGS_WAIT_MS)),
  ]);
  if (!first) {
    fetched.then(
      (pages) => later((before) => ({ ...assemble(pages, false), kinds: before.kinds })),
      () => later((before) => ({ ...before, logsPending: false, partial: true })),
    );
  }
  if (direct) {
    resolved.then(
      (answer) => {
        kinds = answer.kinds.length > 0 ? answer.kinds : kinds;
        later((before) => ({ ...before, kinds }));
        return undefined;
      },
      () => undefined,
    );
  }
  return assemble(first ?? [], !first);
}

function known(kind: KindSummary): number {
  return kind.traces + kind.logs + kind.events;
}

function empty(id: string, kinds: readonly KindSummary[]): Journey {
  return {
    id,
    kinds,
    kind: '',
    traces: [],
    tracesKnown: 0,
    logs: [],
    eventCount: 0,
    logsPending: false,
    cut: false,
    more: false,
    partial: false,
    tree: buildTree([], []),
    services: [],
  };
}

function missingIsUndefined(error: unknown): undefined {
  if (error instanceof Problem && error.kind === 'missing') return undefined;
  throw error;
}

async function outline(traceId: string, abort: AbortSignal): Promise<TraceView | undefined> {
  const o = await get('/api/v1/traces/{trace_id}/outline', { trace_id: traceId }, {}, abort);
  return o.spans.length === 0
    ? undefined
    : {
        traceId: o.trace_id,
        startMs: preciseMs(o.start_ts),
        names: o.names,
        services: o.services,
        spans: o.spans,
        cut: o.partial,
      };
}

const STATUS = { unset: 0, ok: 1, error: 2 } as const;

function viewsOf(spans: readonly Span[]): TraceView[] {
  const byTrace = new Map<string, Span[]>();
  for (const span of spans) byTrace.set(span.trace_id, [...(byTrace.get(span.trace_id) ?? []), span]);
  return [...byTrace].map(([traceId, list]) => {
    const names = [...new Set(list.map((s) => s.name))];
    const services = [...new Set(list.map((s) => s.service_name))];
    const indexOf = new Map(list.map((s, i) => [s.span_id, i]));
    const startMs = Math.min(...list.map((s) => preciseMs(s.ts)));
    return {
      traceId,
      startMs,
      names,
      services,
      cut: false,
      spans: list.map((s) => [
        s.span_id,
        indexOf.get(s.parent_span_id) ?? -1,
        names.indexOf(s.name),
        services.indexOf(s.service_name),
        Math.round((preciseMs(s.ts) - startMs) * 1000),
        Math.round(s.duration_ms * 1000),
        STATUS[s.status as keyof typeof STATUS] ?? 0,
        s.kind,
      ]) as unknown as readonly OutlineSpan[],
    };
  });
}

function treeOf(traces: readonly TraceView[], logs: readonly Line[]): Tree {
  const columns = traces.map((trace): TreeTrace => {
    const count = trace.spans.length;
    const parent = new Int32Array(count);
    const startMs = new Float64Array(count);
    const tookMs = new Float64Array(count);
    const error = new Uint8Array(count);
    trace.spans.forEach((span, i) => {
      parent[i] = span[1];
      startMs[i] = trace.startMs + span[4] / 1000;
      tookMs[i] = span[5] / 1000;
      error[i] = span[6] === STATUS.error ? 1 : 0;
    });
    return { traceId: trace.traceId, count, parent, startMs, tookMs, error };
  });
  const traceIndex = new Map(traces.map((t, i) => [t.traceId, i]));
  // Only the spans that some log names are looked up, not a hundred thousand.
  const named = new Set(logs.map((l) => l.span_id).filter((s) => s !== ''));
  const spanIndex = traces.map((trace) => {
    const found = new Map<string, number>();
    if (named.size > 0) trace.spans.forEach((span, i) => named.has(span[0]) && found.set(span[0], i));
    return found;
  });
  return buildTree(
    columns,
    logs.map((log): TreeLog => {
      const trace = traceIndex.get(log.trace_id) ?? -1;
      return {
        atMs: preciseMs(log.ts),
        trace,
        span: trace < 0 ? -1 : (spanIndex[trace]!.get(log.span_id) ?? -1),
        error: isError(log.level),
        event: log.isEvent === true,
      };
    }),
  );
}

function servicesOf(traces: readonly TraceView[], logs: readonly Line[]): readonly string[] {
  const found = new Set<string>();
  for (const trace of traces.toSorted((a, b) => a.startMs - b.startMs)) {
    const seen = new Set<number>();
    for (const span of trace.spans) {
      if (seen.has(span[3])) continue;
      seen.add(span[3]);
      found.add(trace.services[span[3]] ?? '');
      if (seen.size === trace.services.length) break;
    }
  }
  if (traces.length === 0) for (const log of logs) found.add(log.service_name);
  found.delete('');
  return [...found];
}

// How a row is named in the URL, and back.
export function rowKey(journey: Journey, row: number): string {
  const { tree } = journey;
  if (row < 0 || row >= tree.count) return '';
  if (tree.isLog[row] === 1) return `log.${journey.logs[tree.item[row]!]!.ts}`;
  return journey.traces[tree.trace[row]!]!.spans[tree.item[row]!]![0];
}

export function rowOfKey(journey: Journey, key: string): number {
  const { tree } = journey;
  if (key === '') return -1;
  for (let row = 0; row < tree.count; row += 1) if (rowKey(journey, row) === key) return row;
  return -1;
}

export function spanOf(
  journey: Journey,
  row: number,
): { readonly name: string; readonly service: string; readonly span: OutlineSpan; readonly traceId: string } {
  const trace = journey.traces[journey.tree.trace[row]!]!;
  const span = trace.spans[journey.tree.item[row]!]!;
  return { name: trace.names[span[2]] ?? '', service: trace.services[span[3]] ?? '', span, traceId: trace.traceId };
}

export function logOf(journey: Journey, row: number): Line {
  return journey.logs[journey.tree.item[row]!]!;
}

// The span in full. The range narrows the search to the hour it is known to be in.
export async function loadSpan(
  traceId: string,
  spanId: string,
  atMs: number,
  tookMs: number,
  abort: AbortSignal,
): Promise<Span | undefined> {
  const from = new Date(Math.floor(atMs) - 1000).toISOString();
  const to = new Date(Math.ceil(atMs + tookMs) + 1000).toISOString();
  const answer = await get('/api/v1/spans', {}, { trace_id: traceId, span_id: spanId, from, to, limit: 1 }, abort);
  return answer.spans[0];
}
