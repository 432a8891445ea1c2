import { describe, expect, it } from 'vitest';
import { buildTree, firstCause, timeScale, visibleRows, type TreeLog, type TreeTrace } from '../../src/lib/tree';

// [parent, start, took, failed?]
type Row = readonly [number, number, number, boolean?];
function trace(rows: readonly Row[], traceId = 't'): TreeTrace {
  return {
    traceId,
    count: rows.length,
    parent: rows.map((r) => r[0]),
    startMs: Float64Array.from(rows, (r) => r[1]),
    tookMs: Float64Array.from(rows, (r) => r[2]),
    error: Uint8Array.from(rows, (r) => (r[3] ? 1 : 0)),
  };
}
const log = (atMs: number, span = -1, error = false, of = 0): TreeLog => ({
  atMs,
  trace: of,
  span,
  error,
  event: false,
});

describe('the rows of a journey', () => {
  it('walk depth first, children by start', () => {
    const t = buildTree(
      [
        trace([
          [-1, 0, 100],
          [0, 50, 10],
          [0, 10, 30],
          [2, 12, 5],
        ]),
      ],
      [],
    );
    expect([...t.item]).toEqual([0, 2, 3, 1]);
    expect([...t.depth]).toEqual([0, 1, 2, 1]);
    expect([...t.end]).toEqual([4, 3, 3, 4]);
    expect([...t.parent]).toEqual([-1, 0, 1, 0]);
  });
  it('put each log at its instant under its span', () => {
    const t = buildTree(
      [
        trace([
          [-1, 0, 100],
          [0, 10, 30],
          [0, 50, 10],
        ]),
      ],
      [log(45, 0), log(12, 1), log(5)],
    );
    expect([...t.isLog]).toEqual([0, 1, 0, 1, 1, 0]);
    expect([...t.start]).toEqual([0, 5, 10, 12, 45, 50]);
  });
  it('keep a log outside all traces on top', () => {
    const t = buildTree([trace([[-1, 10, 5]])], [log(0, -1, false, -1)]);
    expect([...t.isLog]).toEqual([1, 0]);
    expect(t.t0).toBe(0);
  });
  it('put several traces in time order', () => {
    const t = buildTree([trace([[-1, 100, 5]], 'a'), trace([[-1, 50, 5]], 'b')], []);
    expect([...t.trace]).toEqual([1, 0]);
    expect(t.spanMs).toBe(55);
    expect(t.orphans).toBe(0);
  });
  it('survive parents in a circle and parents that are not there', () => {
    const t = buildTree(
      [
        trace([
          [1, 0, 1],
          [0, 1, 1],
          [2, 2, 1],
          [99, 3, 1],
        ]),
      ],
      [],
    );
    expect(t.count).toBe(4);
    expect([...t.item].sort()).toEqual([0, 1, 2, 3]);
  });
  it('count spans without a parent beyond the first', () => {
    expect(
      buildTree(
        [
          trace([
            [-1, 0, 9],
            [-1, 1, 1],
            [0, 2, 1],
          ]),
        ],
        [],
      ).orphans,
    ).toBe(1);
  });
  it('are none for nothing', () => {
    const t = buildTree([], []);
    expect([t.count, t.spanMs, firstCause(t)]).toEqual([0, 0, -1]);
  });
  it('stay quick for 100,000 spans and a depth of 10,000', () => {
    const wide = buildTree(
      [trace(Array.from({ length: 100_000 }, (_, i): Row => [i === 0 ? -1 : (i - 1) >> 3, i, 1]))],
      [],
    );
    expect(wide.end[0]).toBe(100_000);
    const deep = buildTree([trace(Array.from({ length: 10_000 }, (_, i): Row => [i - 1, i, 1]))], []);
    expect(deep.depth[9999]).toBe(9999);
  });
});

describe('failures', () => {
  const t = buildTree(
    [
      trace([
        [-1, 0, 100, true],
        [0, 10, 30, true],
        [1, 12, 5, true],
        [0, 50, 10, true],
      ]),
    ],
    [log(55, 3, true)],
  );
  it('have a cause: the earliest with none below it', () => {
    expect(t.item[firstCause(t)]).toBe(2);
    expect([...t.passedOn]).toEqual([1, 1, 0, 0, 0]);
  });
  it('keep their ancestors when shown alone', () => {
    const only = buildTree(
      [
        trace([
          [-1, 0, 100],
          [0, 10, 30],
          [1, 12, 5, true],
          [0, 50, 10],
        ]),
      ],
      [],
    );
    expect([...visibleRows(only, new Set(), 'errors', true)]).toEqual([0, 1, 2]);
  });
  it('can be a log alone', () => {
    const only = buildTree([trace([[-1, 0, 100]])], [log(5, 0, true)]);
    expect(only.isLog[firstCause(only)]).toBe(1);
  });
});

describe('what is in sight', () => {
  const t = buildTree(
    [
      trace([
        [-1, 0, 9],
        [0, 1, 5],
        [1, 2, 1],
        [0, 7, 1],
      ]),
    ],
    [log(3, 2)],
  );
  it('leaves out what is collapsed', () => {
    expect([...visibleRows(t, new Set([1]), 'all', true)]).toEqual([0, 1, 4]);
  });
  it('shows events apart from logs', () => {
    const told = buildTree([], [log(1, -1, false, -1), { ...log(2, -1, false, -1), event: true }]);
    expect([...visibleRows(told, new Set(), 'events', true)]).toEqual([1]);
    expect([...visibleRows(told, new Set(), 'logs', true)]).toEqual([0]);
  });
  it('shows logs alone even under a collapsed span', () => {
    expect([...visibleRows(t, new Set([0]), 'logs', true)]).toEqual([3]);
  });
});

describe('idle time', () => {
  const t = buildTree(
    [
      trace([
        [-1, 0, 60_000],
        [0, 0, 1000],
        [0, 31_000, 1000],
        [0, 32_500, 1000],
      ]),
    ],
    [],
  );
  it('is a stretch in which nothing but a waiting parent runs', () => {
    expect(t.gaps.map((g) => [g.from, g.to, g.before])).toEqual([
      [1000, 31_000, 2],
      [33_500, 60_000, -1],
    ]);
  });
  it('gets a line of its own before the row that ends it', () => {
    expect([...visibleRows(t, new Set(), 'all', true)]).toEqual([0, 1, -1, 2, 3]);
    expect([...visibleRows(t, new Set(), 'all', false)]).toEqual([0, 1, 2, 3]);
  });
  it('takes a small fixed share of the axis, which still never turns back', () => {
    const x = timeScale(t.spanMs, t.gaps, true);
    expect(x(31_000) - x(1000)).toBeCloseTo(0.03);
    expect([x(0), x(60_000)]).toEqual([0, 1]);
    let before = -1;
    for (let ms = 0; ms <= 60_000; ms += 250) {
      expect(x(ms)).toBeGreaterThanOrEqual(before);
      before = x(ms);
    }
    expect(timeScale(t.spanMs, t.gaps, false)(30_000)).toBe(0.5);
  });
  it('shares the whole axis where there are instants alone', () => {
    const instants = buildTree(
      [],
      [0, 40_000, 80_000].map((at) => log(at, -1, false, -1)),
    );
    const x = timeScale(instants.spanMs, instants.gaps, true);
    expect([x(0), x(40_000), x(80_000)]).toEqual([0, 0.5, 1]);
  });
  it('is nothing in a short journey', () => {
    expect(
      buildTree(
        [
          trace([
            [-1, 0, 10],
            [0, 8, 1],
          ]),
        ],
        [],
      ).gaps,
    ).toEqual([]);
  });
  it('does not divide by a journey of no length', () => {
    expect(timeScale(0, [], true)(0)).toBe(0);
  });
});
