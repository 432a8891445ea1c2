// A journey as rows: the spans of one or more traces as a tree with the logs at their instant. Columns instead of
// objects and rows in the order of a depth-first walk, so that 100,000 spans are a few typed arrays, a subtree is a
// stretch of them, and collapsing is a jump.

export interface TreeSpan {
  readonly spanId: string;
  readonly parent: number; // index into the spans of the same trace, −1 for none
  readonly name: string;
  readonly service: string;
  readonly startMs: number; // since the epoch
  readonly tookMs: number;
  readonly status: number; // 0 unset, 1 ok, 2 error
  readonly kind: string;
}

// A trace in columns, as the outline brings it; `at(i)` would cost an object per span.
export interface TreeTrace {
  readonly traceId: string;
  readonly count: number;
  readonly parent: ArrayLike<number>;
  readonly startMs: Float64Array;
  readonly tookMs: Float64Array;
  readonly error: Uint8Array;
}

export interface TreeLog {
  readonly atMs: number;
  readonly trace: number; // index into the traces, −1 when its trace is not among them
  readonly span: number; // index into the spans of that trace, −1 when it names none that is here
  readonly error: boolean;
  readonly event: boolean; // told by the ledger instead of logged
}

export interface Gap {
  readonly from: number; // ms since the start of the journey
  readonly to: number;
  readonly before: number; // row that ends the silence, −1 when it lasts to the end
}

export type Only = 'all' | 'spans' | 'logs' | 'events' | 'errors';

export interface Tree {
  readonly count: number;
  readonly t0: number; // ms since the epoch of the earliest row
  readonly spanMs: number; // from t0 to the last end
  readonly isLog: Uint8Array; // events too
  readonly isEvent: Uint8Array;
  readonly trace: Int32Array; // −1 for a log outside all traces
  readonly item: Int32Array; // index into the spans of its trace, or into the logs
  readonly start: Float64Array; // ms since t0
  readonly took: Float64Array;
  readonly depth: Uint16Array;
  readonly parent: Int32Array; // row, −1 at the top
  readonly end: Int32Array; // one past the last row below this one
  readonly error: Uint8Array;
  readonly passedOn: Uint8Array; // spans that failed and have a failed span below them
  readonly errors: Int32Array; // rows that failed, in row order
  readonly orphans: number; // roots of a trace beyond its first: their parent is not in it
  readonly gaps: readonly Gap[];
}

export function buildTree(traces: readonly TreeTrace[], logs: readonly TreeLog[]): Tree {
  let count = logs.length;
  const offset: number[] = [];
  for (const trace of traces) {
    offset.push(count);
    count += trace.count;
  }
  // Items are numbered logs first, then the spans of each trace.
  const begin = new Float64Array(count);
  const took = new Float64Array(count);
  const parent = new Int32Array(count).fill(-1);
  const error = new Uint8Array(count);
  const traceOf = new Int32Array(count).fill(-1);
  const hasChildSpan = new Uint8Array(count);
  let orphans = 0;
  traces.forEach((trace, t) => {
    const base = offset[t]!;
    let roots = 0;
    for (let i = 0; i < trace.count; i += 1) {
      const at = base + i;
      begin[at] = trace.startMs[i]!;
      took[at] = Math.max(0, trace.tookMs[i]!);
      error[at] = trace.error[i]!;
      traceOf[at] = t;
      const p = trace.parent[i]!;
      if (p >= 0 && p < trace.count && p !== i) {
        parent[at] = base + p;
        hasChildSpan[base + p] = 1;
      } else {
        roots += 1;
      }
    }
    orphans += Math.max(0, roots - 1);
  });
  logs.forEach((log, i) => {
    begin[i] = log.atMs;
    error[i] = log.error ? 1 : 0;
    traceOf[i] = log.trace;
    if (log.trace < 0) return;
    const spans = traces[log.trace]!;
    // A log that names no span of ours belongs to the first root of its trace.
    if (log.span >= 0) parent[i] = offset[log.trace]! + log.span;
    else if (spans.count > 0) parent[i] = offset[log.trace]! + Math.max(0, firstRoot(spans));
  });
  breakCycles(parent);

  const order = byStart(begin, [0, ...offset, count]);
  // Children as linked lists; putting them in front from the latest to the earliest leaves them in time order.
  const firstChild = new Int32Array(count + 1).fill(-1);
  const nextSibling = new Int32Array(count).fill(-1);
  for (let k = count - 1; k >= 0; k -= 1) {
    const at = order[k]!;
    const p = parent[at]! < 0 ? count : parent[at]!;
    nextSibling[at] = firstChild[p]!;
    firstChild[p] = at;
  }

  let t0 = Infinity;
  let tEnd = -Infinity;
  for (let i = 0; i < count; i += 1) {
    t0 = Math.min(t0, begin[i]!);
    tEnd = Math.max(tEnd, begin[i]! + took[i]!);
  }
  if (count === 0) t0 = tEnd = 0;

  const tree = {
    isLog: new Uint8Array(count),
    isEvent: new Uint8Array(count),
    trace: new Int32Array(count),
    item: new Int32Array(count),
    start: new Float64Array(count),
    took: new Float64Array(count),
    depth: new Uint16Array(count),
    parent: new Int32Array(count),
    end: new Int32Array(count),
    error: new Uint8Array(count),
  };
  const rowOf = new Int32Array(count).fill(-1);
  const open: number[] = []; // items whose subtree is being walked
  let row = 0;
  let at = firstChild[count]!;
  while (at >= 0 || open.length > 0) {
    if (at < 0) {
      const done = open.pop()!;
      tree.end[rowOf[done]!] = row;
      at = nextSibling[done]!;
      continue;
    }
    rowOf[at] = row;
    tree.isLog[row] = at < logs.length ? 1 : 0;
    tree.isEvent[row] = logs[at]?.event ? 1 : 0;
    tree.trace[row] = traceOf[at]!;
    tree.item[row] = at < logs.length ? at : at - offset[traceOf[at]!]!;
    tree.start[row] = begin[at]! - t0;
    tree.took[row] = took[at]!;
    tree.depth[row] = Math.min(open.length, 65_535);
    tree.parent[row] = parent[at]! < 0 ? -1 : rowOf[parent[at]!]!;
    tree.error[row] = error[at]!;
    row += 1;
    open.push(at);
    at = firstChild[at]!;
  }

  const errors: number[] = [];
  for (let r = 0; r < count; r += 1) if (tree.error[r] === 1) errors.push(r);
  const passedOn = new Uint8Array(count);
  for (const r of errors) {
    if (tree.isLog[r] === 1) continue;
    for (let up = tree.parent[r]!; up >= 0 && passedOn[up] === 0; up = tree.parent[up]!) passedOn[up] = 1;
  }
  for (let r = 0; r < count; r += 1) passedOn[r]! &= tree.error[r]!;
  const gaps = findGaps(order, begin, took, hasChildSpan, rowOf, t0, tEnd);
  return { ...tree, count, t0, spanMs: tEnd - t0, passedOn, errors: Int32Array.from(errors), orphans, gaps };
}

function firstRoot(trace: TreeTrace): number {
  for (let i = 0; i < trace.count; i += 1) if (trace.parent[i]! < 0) return i;
  return 0;
}

// Foreign data may name parents in a circle. Whoever cannot be reached from the top is put there.
function breakCycles(parent: Int32Array): void {
  const seen = new Int32Array(parent.length); // 0 unknown, −1 good, else the number of the walk that passed here
  for (let i = 0; i < parent.length; i += 1) {
    let at = i;
    while (at >= 0 && seen[at] === 0) {
      seen[at] = i + 1;
      at = parent[at]!;
    }
    if (at >= 0 && seen[at] === i + 1) parent[at] = -1;
    at = i;
    while (at >= 0 && seen[at] === i + 1) {
      seen[at] = -1;
      at = parent[at]!;
    }
  }
}

// Item numbers by start. Each stretch between `bounds` is nearly always sorted already, so they are merged.
function byStart(begin: Float64Array, bounds: readonly number[]): Int32Array {
  const runs: Int32Array[] = [];
  for (let b = 0; b + 1 < bounds.length; b += 1) {
    const from = bounds[b]!;
    const run = new Int32Array(bounds[b + 1]! - from);
    let sorted = true;
    for (let i = 0; i < run.length; i += 1) {
      run[i] = from + i;
      if (i > 0 && begin[from + i]! < begin[from + i - 1]!) sorted = false;
    }
    if (!sorted) run.sort((x, y) => begin[x]! - begin[y]! || x - y);
    if (run.length > 0) runs.push(run);
  }
  while (runs.length > 1) {
    const a = runs.shift()!;
    const b = runs.shift()!;
    const out = new Int32Array(a.length + b.length);
    let i = 0;
    let j = 0;
    for (let k = 0; k < out.length; k += 1) {
      out[k] = j >= b.length || (i < a.length && begin[a[i]!]! <= begin[b[j]!]!) ? a[i++]! : b[j++]!;
    }
    runs.push(out);
  }
  return runs[0] ?? new Int32Array(0);
}

const GAP_MIN_MS = 2000;
const GAP_MIN_SHARE = 0.05;
const GAPS_MAX = 12;

// Stretches of more than two seconds, and more than a twentieth of the whole, in which no span without children runs
// and nothing is logged. Spans with children do not count as activity: they wait for what is below them.
function findGaps(
  order: Int32Array,
  begin: Float64Array,
  took: Float64Array,
  hasChildSpan: Uint8Array,
  rowOf: Int32Array,
  t0: number,
  tEnd: number,
): readonly Gap[] {
  const least = Math.max(GAP_MIN_MS, (tEnd - t0) * GAP_MIN_SHARE);
  const gaps: Gap[] = [];
  let busyUntil = t0;
  for (const item of order) {
    if (begin[item]! - busyUntil > least)
      gaps.push({ from: busyUntil - t0, to: begin[item]! - t0, before: rowOf[item]! });
    // The instant at which a parent starts is activity, the time it waits is not.
    busyUntil = Math.max(busyUntil, begin[item]! + (hasChildSpan[item] === 1 ? 0 : took[item]!));
  }
  if (tEnd - busyUntil > least) gaps.push({ from: busyUntil - t0, to: tEnd - t0, before: -1 });
  const widest = gaps.toSorted((a, b) => b.to - b.from - (a.to - a.from)).slice(0, GAPS_MAX);
  return widest.sort((a, b) => a.from - b.from);
}

// The row a reader wants first: the earliest failure that has no failure below it, which is the cause rather than
// those who passed it on. −1 when nothing failed.
export function firstCause(tree: Tree): number {
  return tree.errors.find((row) => tree.isLog[row] === 0 && tree.passedOn[row] === 0) ?? tree.errors[0] ?? -1;
}

// What is on the screen, top to bottom: rows, and −1−g for fold line of gap g.
export function visibleRows(tree: Tree, collapsed: ReadonlySet<number>, only: Only, foldGaps: boolean): Int32Array {
  const out = new Int32Array(tree.count + tree.gaps.length);
  let n = 0;
  const gapBefore = new Map<number, number>();
  if (foldGaps) tree.gaps.forEach((gap, g) => gap.before >= 0 && gapBefore.set(gap.before, g));
  let keep: Uint8Array | undefined;
  if (only === 'errors') {
    keep = new Uint8Array(tree.count);
    for (const row of tree.errors) for (let r = row; r >= 0 && keep[r] === 0; r = tree.parent[r]!) keep[r] = 1;
  }
  for (let row = 0; row < tree.count;) {
    const shown =
      only === 'all' ||
      (only === 'spans' && tree.isLog[row] === 0) ||
      (only === 'logs' && tree.isLog[row] === 1 && tree.isEvent[row] === 0) ||
      (only === 'events' && tree.isEvent[row] === 1) ||
      keep?.[row] === 1;
    if (shown) {
      const gap = only === 'all' ? gapBefore.get(row) : undefined;
      if (gap !== undefined) out[n++] = -1 - gap;
      out[n++] = row;
    }
    row = only !== 'logs' && only !== 'events' && collapsed.has(row) ? tree.end[row]! : row + 1;
  }
  return out.subarray(0, n);
}

// Position of an instant on the time axis as a share of its width. Folded gaps get a small fixed share each.
export type Scale = (ms: number) => number;
const FOLDED_SHARE = 0.03;
export function timeScale(spanMs: number, gaps: readonly Gap[], fold: boolean): Scale {
  const total = spanMs > 0 ? spanMs : 1;
  if (!fold || gaps.length === 0) return (ms) => Math.min(1, Math.max(0, ms / total));
  const idle = gaps.reduce((sum, gap) => sum + gap.to - gap.from, 0);
  const active = total - idle;
  // Instants alone, as a run's events are: then the folds are all there is, and share the width.
  const share = active > total / 1000 ? FOLDED_SHARE : 1 / gaps.length;
  const scale = active > total / 1000 ? (1 - share * gaps.length) / active : 0;
  return (ms) => {
    let x = 0;
    let at = 0;
    for (const gap of gaps) {
      if (ms <= gap.from) break;
      x += (gap.from - at) * scale;
      at = gap.from;
      if (ms < gap.to) return Math.min(1, x + (share * (ms - gap.from)) / (gap.to - gap.from));
      x += share;
      at = gap.to;
    }
    return Math.min(1, Math.max(0, x + (ms - at) * scale));
  };
}
