// The waterfall of a journey, its summary, its keys and the pane beside it.
import { useComputed, useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { location, param, setParams, travel } from '../../routes';
import { serverNow } from '../../data/api';
import { zone } from '../../data/filters';
import { age, clockMs, count, duration, instant, middle, oneLine, plural } from '../../lib/fmt';
import { cell } from '../../lib/redacted';
import { levelTone, levelWord } from '../../lib/level';
import { firstCause, timeScale, visibleRows, type Only, type Scale } from '../../lib/tree';
import { tick } from '../../data/status';
import { Button, Segments } from '../../ui/Button';
import { Icon } from '../../ui/Icon';
import { Note } from '../../ui/States';
import { Chip, Glyph, Status } from '../../ui/Status';
import { useKeys } from '../../ui/useKeys';
import { useMedia } from '../../ui/useMedia';
import { VirtualList, type VirtualListHandle } from '../../ui/VirtualList';
import { say } from '../../ui/announce';
import { RowPane } from './RowPane';
import { runEnd } from './event_line';
import { logOf, rowKey, rowOfKey, spanOf, TRACES_MAX, type Journey } from './journey_data';
import page from './Evidence.module.css';
import css from './Journey.module.css';

const URL_AFTER_MS = 200; // browsers refuse more than about 20 address changes a second

export function JourneyView({ journey }: { readonly journey: Journey }) {
  const { tree } = journey;
  const phone = useMedia('(max-width: 820px)');
  const wide = useMedia('(min-width: 1181px)');
  const rowHeight = phone ? 44 : 29;
  const only = (['spans', 'logs', 'events', 'errors'] as const).find((o) => o === param('only')) ?? 'all';
  const fold = param('fold') !== '0';

  const collapsed = useSignal<ReadonlySet<number>>(new Set());
  const cursor = useSignal(-1);
  const open = useSignal(false);
  const list = useRef<VirtualListHandle | null>(null);

  const shown = useMemo(() => visibleRows(tree, collapsed.value, only, fold), [tree, collapsed.value, only, fold]);
  const scale = useMemo(() => timeScale(tree.spanMs, tree.gaps, fold), [tree, fold]);

  // The first look, and every look after the rows were put together anew: the row the address names, else the cause.
  const wanted = useRef('');
  const loadedTree = useRef<unknown>(undefined);
  // Before the first paint, so that the pane is there with the rows and pushes nothing aside.
  useLayoutEffect(() => {
    if (loadedTree.current === tree) return;
    const key = loadedTree.current === undefined ? param('sel') : wanted.current;
    loadedTree.current = tree;
    let row = rowOfKey(journey, key);
    if (row >= 0) open.value = param('sel') !== '' || open.peek();
    else {
      row = firstCause(tree);
      open.value = row >= 0 && wide;
      row = Math.max(0, row);
    }
    cursor.value = row;
    wanted.current = rowKey(journey, row);
    revealRow(row, 6);
  }, [tree]);

  // Back and Forward move the selection too.
  const sel = param('sel');
  const lastSel = useRef(sel);
  useEffect(() => {
    if (lastSel.current === sel) return;
    lastSel.current = sel;
    if (sel === wanted.current) return;
    if (sel === '') {
      open.value = false;
      return;
    }
    const row = rowOfKey(journey, sel);
    if (row < 0) return;
    open.value = true;
    select(row);
  }, [sel]);

  // The address follows the selection while the pane is open.
  const writeTimer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => {
    clearTimeout(writeTimer.current);
    writeTimer.current = setTimeout(() => {
      writeTimer.current = undefined;
      if (location.peek().place === 'journey') setParams({ sel: open.peek() ? wanted.current : undefined }, 'replace');
    }, URL_AFTER_MS);
    return () => {
      clearTimeout(writeTimer.current);
      writeTimer.current = undefined;
    };
  }, [cursor.value, open.value]);

  function indexOf(row: number): number {
    // Rows rise down the list; fold lines (negative) stand directly before theirs.
    let low = 0;
    let high = shown.length - 1;
    while (low <= high) {
      const mid = (low + high) >> 1;
      let at = shown[mid]!;
      if (at < 0) at = (shown[mid + 1] ?? 0) - 0.5;
      if (at === row) return mid;
      if (at < row) low = mid + 1;
      else high = mid - 1;
    }
    return -1;
  }
  function revealRow(row: number, marginRows = 1) {
    requestAnimationFrame(() => list.current?.reveal(Math.max(0, indexOfLatest.current(row)), marginRows * rowHeight));
  }
  const indexOfLatest = useRef(indexOf);
  indexOfLatest.current = indexOf;

  function select(row: number, marginRows = 1) {
    if (row < 0 || row >= tree.count) return;
    cursor.value = row;
    wanted.current = rowKey(journey, row);
    revealRow(row, marginRows);
  }
  function step(by: number) {
    const at = indexOf(cursor.peek());
    let next = Math.min(shown.length - 1, Math.max(0, at + by));
    while (shown[next] !== undefined && shown[next]! < 0) next += by > 0 ? 1 : -1;
    const row = shown[next];
    if (row !== undefined && row >= 0) select(row);
  }
  function unfoldTo(row: number) {
    if (collapsed.peek().size === 0) return;
    const next = new Set(collapsed.peek());
    for (let r = tree.parent[row]!; r >= 0; r = tree.parent[r]!) next.delete(r);
    collapsed.value = next;
  }
  function stepError(by: 1 | -1) {
    if (tree.errors.length === 0) return say('Nothing failed in this journey');
    const here = cursor.peek();
    const next = by > 0 ? tree.errors.find((r) => r > here) : tree.errors.findLast((r) => r < here);
    if (next === undefined) return say(by > 0 ? 'That was the last failure' : 'That was the first failure');
    unfoldTo(next);
    select(next, 4);
    return undefined;
  }
  const hasChildren = (row: number) => tree.end[row]! > row + 1;
  function toggle(row: number, to?: 'open' | 'closed') {
    if (!hasChildren(row)) return;
    const next = new Set(collapsed.peek());
    const closed = next.has(row);
    if (to === 'open' || (to === undefined && closed)) next.delete(row);
    else next.add(row);
    collapsed.value = next;
  }
  const close = () => {
    open.value = false;
    list.current?.focus();
  };
  const left = () => {
    const row = cursor.peek();
    if (hasChildren(row) && !collapsed.peek().has(row)) toggle(row, 'closed');
    else if (tree.parent[row]! >= 0) select(tree.parent[row]!);
  };
  const right = () => {
    const row = cursor.peek();
    if (collapsed.peek().has(row)) toggle(row, 'open');
    else if (hasChildren(row)) select(row + 1);
  };
  const group = 'Journey';
  useKeys([
    { keys: 'j', label: 'Next row', group, run: () => step(1) },
    { keys: 'k', label: 'Previous row', group, run: () => step(-1) },
    { keys: 'ArrowDown', label: '', group, run: () => step(1) },
    { keys: 'ArrowUp', label: '', group, run: () => step(-1) },
    { keys: 'h', label: 'Collapse, or go to the parent', group, run: left },
    { keys: 'l', label: 'Expand, or go to the first child', group, run: right },
    { keys: 'ArrowLeft', label: '', group, run: left },
    { keys: 'ArrowRight', label: '', group, run: right },
    { keys: 'n', label: 'Next failure', group, run: () => stepError(1) },
    { keys: 'p', label: 'Previous failure', group, run: () => stepError(-1) },
    { keys: 'Enter', label: 'Details', group, run: () => (open.value = true) },
    { keys: 'o', label: '', group, run: () => (open.value = true) },
    { keys: 'Home', label: 'First row', group, run: () => select(shown.find((r) => r >= 0) ?? 0) },
    { keys: 'End', label: 'Last row', group, run: () => select(shown.at(-1) ?? 0) },
    { keys: 'PageDown', label: '', group, run: () => step((list.current?.visible ?? 10) - 1) },
    { keys: 'PageUp', label: '', group, run: () => step(1 - (list.current?.visible ?? 10)) },
    ...(open.value ? [{ keys: 'Escape', label: 'Close details', group, run: close }] : []),
  ]);

  const at = cursor.value;
  const activeId = useComputed(() => (cursor.value >= 0 ? `row-${cursor.value}` : undefined)).value;
  const spanCount = journey.traces.reduce((sum, t) => sum + t.spans.length, 0);
  const logCount = journey.logs.length - journey.eventCount;

  return (
    <>
      <Summary
        journey={journey}
        spanCount={spanCount}
        onFirst={() => (select(Math.max(0, firstCause(tree)), 4), unfoldTo(cursor.peek()))}
      />
      {spanCount === 0 && logCount > 0 && (
        <Note tone="mute" state="sampled">
          No span of this journey is stored: it was sampled out, or never sent. {plural(logCount, 'log')} survive
          {logCount === 1 ? 's' : ''}.
        </Note>
      )}
      <div class={page.split}>
        <section class={`card ${css.card}`} aria-label="Waterfall">
          <header class={css.head}>
            <Segments<Only>
              label="Rows shown"
              name="only"
              choices={[
                { value: 'all', label: 'All' },
                { value: 'spans', label: 'Spans', count: atLeast(count(spanCount), journey) },
                { value: 'logs', label: 'Logs', count: journey.logsPending ? '…' : count(logCount) },
                ...(journey.eventCount > 0
                  ? [{ value: 'events' as const, label: 'Events', count: count(journey.eventCount) }]
                  : []),
                { value: 'errors', label: 'Errors', count: atLeast(count(tree.errors.length), journey) },
              ]}
              value={only}
              onChange={(value) => setParams({ only: value === 'all' ? undefined : value })}
            />
            <span class="sp" />
            {tree.gaps.length > 0 && (
              <Button
                small
                look="ghost"
                icon={fold ? 'unfold-vertical' : 'fold-vertical'}
                aria-pressed={fold}
                onClick={() => setParams({ fold: fold ? '0' : undefined }, 'replace')}
              >
                {fold ? `${plural(tree.gaps.length, 'idle stretch', 'idle stretches')} folded` : 'Fold idle time'}
              </Button>
            )}
            <span class={css.errorNav}>
              <Button
                small
                look="ghost"
                icon="chevron-up"
                keys="p"
                aria-label="Previous failure"
                title="Previous failure (p)"
                disabled={tree.errors.length === 0}
                onClick={() => stepError(-1)}
              />
              <Button
                small
                look="ghost"
                icon="chevron-down"
                keys="n"
                aria-label="Next failure"
                title="Next failure (n)"
                disabled={tree.errors.length === 0}
                onClick={() => stepError(1)}
              />
            </span>
          </header>
          <Notes journey={journey} />
          <div class={css.list} style={{ '--row': `${rowHeight}px` }}>
            {shown.length === 0 ? (
              <p class={`dim ${css.nothing}`}>
                {only === 'errors'
                  ? `Nothing failed: 0 of ${plural(spanCount, 'span')}${journey.cut ? ' shown' : ''}.`
                  : only === 'logs'
                    ? journey.logsPending
                      ? 'Logs are on their way…'
                      : 'No log line belongs to this journey.'
                    : 'Nothing to show.'}
              </p>
            ) : (
              <VirtualList
                label="Spans, logs and events in time order"
                role="treegrid"
                columns={5}
                count={shown.length}
                rowHeight={rowHeight}
                handle={list}
                activeId={activeId}
                head={phone ? undefined : <Head spanMs={tree.spanMs} scale={scale} />}
                row={(index, rowIndex) => {
                  const row = shown[index]!;
                  return row < 0 ? (
                    <FoldLine ms={tree.gaps[-1 - row]!.to - tree.gaps[-1 - row]!.from} rowIndex={rowIndex} />
                  ) : (
                    <Row
                      journey={journey}
                      row={row}
                      rowIndex={rowIndex}
                      scale={scale}
                      selected={row === at}
                      closed={collapsed.value.has(row)}
                      onSelect={() => {
                        select(row);
                        open.value = true;
                        list.current?.focus();
                      }}
                      onToggle={() => toggle(row)}
                    />
                  );
                }}
              />
            )}
          </div>
        </section>
        {open.value && at >= 0 && at < tree.count && (
          <RowPane
            journey={journey}
            row={at}
            position={`${count(indexOf(at) + 1)} of ${count(shown.length)}`}
            onClose={close}
          />
        )}
      </div>
    </>
  );
}

// A count of what is shown, when there is more.
function atLeast(text: string, journey: Journey): string {
  return journey.cut ? `${text}+` : text;
}

function Notes({ journey }: { readonly journey: Journey }) {
  const { tree } = journey;
  const parts: string[] = [];
  if (journey.partial) parts.push('A part of the store did not answer; spans or logs may be missing.');
  if (journey.cut) {
    const cut = journey.traces.filter((t) => t.cut);
    const shown = cut.reduce((sum, t) => sum + t.spans.length, 0);
    parts.push(
      `Showing the first ${plural(shown, 'span')} of ${cut.length === 1 && journey.traces.length === 1 ? 'this trace' : plural(cut.length, 'trace')}; there are more. Counts, times and failures are of those shown.`,
    );
  }
  if (journey.tracesKnown > TRACES_MAX)
    parts.push(`Showing the newest ${TRACES_MAX} of ${count(journey.tracesKnown)} traces.`);
  else if (journey.more) parts.push(`Showing the first ${count(journey.logs.length)} logs and events; there are more.`);
  return (
    <>
      {parts.length > 0 && (
        <Note tone="warn" state="partial">
          {parts.join(' ')}
        </Note>
      )}
      {tree.orphans > 0 && (
        <Note tone="mute" state="context">
          {plural(tree.orphans, 'span has', 'spans have')} no parent in this trace: no trace context came along, or the
          parent was not received.
        </Note>
      )}
    </>
  );
}

function Summary({
  journey,
  spanCount,
  onFirst,
}: {
  readonly journey: Journey;
  readonly spanCount: number;
  readonly onFirst: () => void;
}) {
  const { tree, services } = journey;
  const failedSpans = tree.errors.reduce((n, row) => n + (tree.isLog[row] === 0 ? 1 : 0), 0);
  const failedEvents = tree.errors.reduce((n, row) => n + tree.isEvent[row]!, 0);
  const failedLogs = tree.errors.length - failedSpans - failedEvents;
  const logCount = journey.logs.length - journey.eventCount;
  const end = runEnd(journey.logs);
  const started = tree.t0;
  const cause = firstCause(tree);
  const others = journey.kinds.filter((k) => k.kind !== journey.kind);
  return (
    <dl class={css.strip}>
      <div>
        <dt>Result</dt>
        <dd>
          {tree.errors.length > 0 ? (
            <button type="button" class={css.result} onClick={onFirst} title="Go to the first failure">
              <Chip tone={end === 'succeeded' ? 'warn' : 'bad'}>
                {end !== undefined
                  ? end === 'succeeded'
                    ? `Succeeded after ${plural(tree.errors.length, 'failure')}`
                    : `Run: ${end}`
                  : failedSpans > 0
                    ? `${atLeast(count(failedSpans), journey)} ${failedSpans === 1 && !journey.cut ? 'span' : 'spans'} failed`
                    : failedLogs > 0
                      ? plural(failedLogs, 'error logged', 'errors logged')
                      : plural(failedEvents, 'event', 'events') + ' failed'}
              </Chip>
            </button>
          ) : (
            <b>No failure{journey.cut ? ' shown' : ''}</b>
          )}
        </dd>
        <dd class="small dim ell foreign">
          {cause >= 0
            ? `first: ${oneLine(tree.isLog[cause] === 1 ? logOf(journey, cause).body : spanOf(journey, cause).name, 60)}`
            : `${plural(spanCount, 'span')}${journey.cut ? ' shown' : ''} ended well`}
        </dd>
      </div>
      <div class={css.hops}>
        <dt>Hops</dt>
        <dd class="ell">
          <b>{plural(services.length, 'service')}</b>
        </dd>
        <dd class="small dim ell foreign" title={services.join(' → ')}>
          {services.map((s) => oneLine(s, 40)).join(' → ') || '—'}
        </dd>
      </div>
      <div>
        <dt>Took</dt>
        <dd>
          <b class="num">{atLeast(duration(tree.spanMs), journey)}</b>
        </dd>
        <dd class="small dim num">
          {atLeast(count(spanCount), journey)} {spanCount === 1 && !journey.cut ? 'span' : 'spans'},{' '}
          {journey.logsPending ? '…' : plural(logCount, 'log')}
          {journey.eventCount > 0 && `, ${plural(journey.eventCount, 'event')}`}
        </dd>
      </div>
      <div>
        <dt>Started</dt>
        <dd>
          <b class="num">{instant(started, zone(), serverNow())}</b>
        </dd>
        <dd class="small dim num">{age(Math.max(0, tick.value - started))} ago</dd>
      </div>
      <div>
        <dt>Known as</dt>
        <dd class="ell">
          <b>{journey.kind || '—'}</b>
          {journey.traces.length !== 1 && <span class="dim"> · {plural(journey.tracesKnown, 'trace')}</span>}
        </dd>
        <dd class="small ell">
          {others.length > 0 ? (
            others.map((k) => (
              <a key={k.kind} class={`link ${css.kind}`} href={travel('journey', { id: journey.id, kind: k.kind })}>
                {k.kind}
              </a>
            ))
          ) : journey.traces.length === 1 ? (
            <a
              class="link"
              href={travel('logs', {
                trace_id: journey.traces[0]!.traceId,
                from: new Date(started - 60_000).toISOString(),
                to: new Date(started + tree.spanMs + 60_000).toISOString(),
              })}
            >
              open in Logs
            </a>
          ) : (
            <span class="dim">nothing else</span>
          )}
        </dd>
      </div>
    </dl>
  );
}

const TICKS = [0, 0.25, 0.5, 0.75];
function Head({ spanMs, scale }: { readonly spanMs: number; readonly scale: Scale }) {
  // Where the axis is folded the even positions are no even times, so the time at each tick is looked for.
  const timeAt = (share: number) => {
    let low = 0;
    let high = spanMs;
    for (let i = 0; i < 30; i += 1) {
      const mid = (low + high) / 2;
      if (scale(mid) < share) low = mid;
      else high = mid;
    }
    return high;
  };
  return (
    <div role="row" class={`${css.row} ${css.headRow}`} aria-rowindex={1}>
      <span role="columnheader" class={css.time}>
        Time
      </span>
      <span role="columnheader" class={css.name}>
        Name
      </span>
      <span role="columnheader" class={css.axis} aria-label="Position in time">
        {TICKS.map((t) => (
          <span key={t} class="num" style={{ left: `${t * 100}%` }} aria-hidden="true">
            {t === 0 ? '0' : duration(timeAt(t))}
          </span>
        ))}
      </span>
      <span role="columnheader" class={css.took}>
        Took
      </span>
      <span role="columnheader" class={css.outcome}>
        Result
      </span>
    </div>
  );
}

function FoldLine({ ms, rowIndex }: { readonly ms: number; readonly rowIndex: number }) {
  return (
    <div role="row" class={css.fold} aria-rowindex={rowIndex}>
      <span role="gridcell">{duration(ms)} with nothing recorded</span>
    </div>
  );
}

const INDENT_MAX = 16;
function Row(props: {
  readonly journey: Journey;
  readonly row: number;
  readonly rowIndex: number;
  readonly scale: Scale;
  readonly selected: boolean;
  readonly closed: boolean;
  readonly onSelect: () => void;
  readonly onToggle: () => void;
}) {
  const { journey, row, scale } = props;
  const { tree } = journey;
  const log = tree.isLog[row] === 1 ? logOf(journey, row) : undefined;
  const span = log ? undefined : spanOf(journey, row);
  const depth = tree.depth[row]!;
  const parent = tree.end[row]! > row + 1;
  const failed = tree.error[row] === 1;
  // A failure that came up from below is drawn hollow, so that the causes stand out.
  const passedOn = failed && !log && tree.passedOn[row] === 1;
  const x = scale(tree.start[row]!);
  const width = scale(tree.start[row]! + tree.took[row]!) - x;
  const orphan = !log && depth === 0 && tree.orphans > 0 && row > 0 && tree.trace[row] === tree.trace[row - 1];
  const tone = log ? levelTone(log.level) : failed ? 'bad' : 'none';
  return (
    // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/interactive-supports-focus
    <div
      role="row"
      id={`row-${row}`}
      class={`${css.row} ${props.selected ? css.selected : ''} ${orphan ? css.orphan : ''}`}
      aria-level={depth + 1}
      aria-rowindex={props.rowIndex}
      aria-selected={props.selected}
      aria-expanded={parent ? !props.closed : undefined}
      onClick={props.onSelect}
    >
      <span role="gridcell" class={`mono faint ${css.time}`}>
        {clockMs(tree.t0 + tree.start[row]!, zone())}
      </span>
      <span role="gridcell" class={css.name}>
        <span class={css.indent} style={{ width: `${Math.min(depth, INDENT_MAX) * 14}px` }} />
        {/* The same elements in every row: scrolling then changes texts and classes and creates nothing. */}
        <button
          type="button"
          tabIndex={-1}
          class={`${css.twisty} ${parent ? '' : css.none} ${props.closed ? '' : css.unfolded}`}
          aria-label={props.closed ? 'Expand' : 'Collapse'}
          onClick={(event) => {
            event.stopPropagation();
            props.onToggle();
          }}
        >
          <Icon name="chevron-right" size={12} />
        </button>
        <span class={log ? css.logMark : css.deep}>
          {log ? (log.isEvent ? 'event' : 'log') : depth > INDENT_MAX ? depth : ''}
        </span>
        <span
          class={`ell foreign ${log ? css.body : `mono ${css.spanName}`}`}
          title={log ? undefined : span!.name.slice(0, 300)}
        >
          {log ? cell(log.body || log.event_name, 300) : cell(span!.name, 200)}
        </span>
        <span class={`faint small ell foreign ${css.service}`}>{log ? '' : oneLine(span!.service, 60)}</span>
        {props.closed && <span class={`num ${css.hidden}`}>+{count(tree.end[row]! - row - 1)}</span>}
      </span>
      <span role="gridcell" class={css.lane}>
        <i
          class={
            log
              ? `${css.dot} ${tone === 'bad' ? css.bad : tone === 'warn' ? css.warn : ''}`
              : `${css.bar} ${passedOn ? css.hollow : failed ? css.bad : ''}`
          }
          style={{
            left: `${(log ? x : Math.min(x, 0.997)) * 100}%`,
            width: log ? '7px' : `${Math.max(0, width) * 100}%`,
          }}
        />
      </span>
      <span role="gridcell" class={`num ${css.took}`}>
        {log ? '' : duration(tree.took[row]!)}
      </span>
      <span role="gridcell" class={css.outcome}>
        {log ? (
          tone === 'none' ? (
            !log.isEvent && <span class="faint small">{levelWord(log.level)}</span>
          ) : (
            <Status tone={tone}>{log.isEvent ? 'failed' : levelWord(log.level)}</Status>
          )
        ) : failed ? (
          <Status tone="bad">failed</Status>
        ) : orphan ? (
          <span class={css.noContext} title={`No parent in trace ${middle(span!.traceId)}`}>
            <Glyph tone="mute" size={11} /> no parent
          </span>
        ) : (
          ''
        )}
      </span>
    </div>
  );
}
