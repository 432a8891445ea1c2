// Evidence › Logs: search, how much of what severity when, the lines, and the live tail.
import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { get, serverNow, token, type Log, type LogHistogram } from '../../data/api';
import { noteSeen, paused, question, range, zone } from '../../data/filters';
import { Resource, valueOf } from '../../data/resource';
import { recovered } from '../../data/status';
import { Tail } from '../../data/tail';
import { clockMs, count, duration, instant, needsDates, oneLine, plural } from '../../lib/fmt';
import { levelTone, levelWord, isLevel, type Level } from '../../lib/level';
import { matcher, pieces } from '../../lib/search';
import { cell } from '../../lib/redacted';
import { isRelative, ms } from '../../lib/time';
import { go, location, param, setParams, travel } from '../../routes';
import { neverReceived } from '../start/first_data';
import { FirstRunBody } from '../start/FirstRun';
import { Button, Segments } from '../../ui/Button';
import { Histogram, type Bars } from '../../ui/Histogram';
import { Icon } from '../../ui/Icon';
import { Pane } from '../../ui/Pane';
import { Empty, Note, View } from '../../ui/States';
import { Status } from '../../ui/Status';
import { useKeys } from '../../ui/useKeys';
import { useMedia } from '../../ui/useMedia';
import { VirtualList, type VirtualListHandle } from '../../ui/VirtualList';
import { FilterBar } from './FilterBar';
import { LogDetail } from './RowPane';
import page from './Evidence.module.css';
import css from './Logs.module.css';

const PAGE = 200;
const KEPT_MAX = 20_000; // lines in the tab
const HELD_MAX = 2000; // lines waiting behind "n new"
const HISTOGRAM_EVERY_MS = 5000;

interface Page {
  readonly logs: readonly Log[];
  readonly cursor: string | null;
  readonly partial: boolean;
  readonly first: boolean; // nothing was ever received
}

const LEVEL_CHOICES: readonly { readonly value: Level | 'all'; readonly label: string }[] = [
  { value: 'all', label: 'All' },
  { value: 'info', label: 'Info +' },
  { value: 'warn', label: 'Warnings +' },
  { value: 'error', label: 'Errors' },
];

export default function Logs() {
  const query = location.value.query;
  const time = range.value;
  const asked = useMemo(() => question(query, 'logs', time), [JSON.stringify(question(query, 'logs', time))]);
  const key = JSON.stringify(asked);
  const follow = isRelative(time) && !paused();
  const phone = useMedia('(max-width: 820px)');
  const q = param('q');
  const find = useMemo(() => matcher(q), [q]);

  const lines = useMemo(() => new Resource<Page>(), []);
  const histogram = useMemo(() => new Resource<LogHistogram>(), []);
  const tail = useMemo(() => new Tail(), []);
  const held = useSignal<readonly Log[]>([]);
  const skipped = useSignal(0);
  const cursor = useSignal(-1);
  const open = useSignal(false);
  const loadingMore = useSignal(false);
  const list = useRef<VirtualListHandle | null>(null);

  const load = () =>
    void lines.load(key, async (abort) => {
      const answer = await get('/api/v1/logs', {}, [...asked, ['limit', String(PAGE)], ['order', 'desc']], abort);
      noteSeen(answer.logs);
      const first = answer.logs.length === 0 && (await neverReceived(abort).catch(() => false));
      return { logs: answer.logs, cursor: answer.next_cursor, partial: answer.partial, first };
    });
  useEffect(() => {
    held.value = [];
    skipped.value = 0;
    cursor.value = -1;
    open.value = false;
    list.current?.scrollTo(0);
    load();
  }, [key, recovered.value, token.value]);
  useEffect(() => {
    const ask = () =>
      void histogram.load(key, (abort) =>
        get('/api/v1/logs/histogram', {}, [...asked, ['buckets', phone ? '30' : '60']], abort),
      );
    ask();
    if (!follow) return undefined;
    const timer = setInterval(() => document.hidden || ask(), HISTOGRAM_EVERY_MS);
    return () => clearInterval(timer);
  }, [key, follow, recovered.value, token.value, phone]);
  useEffect(
    () => () => {
      lines.stop();
      histogram.stop();
      tail.stop();
    },
    [],
  );

  // New lines go in on top while the top is in sight; else they wait, because nothing moves under the cursor.
  const put = (fresh: readonly Log[]) => {
    lines.update((before) => ({ ...before, first: false, logs: [...fresh, ...before.logs].slice(0, KEPT_MAX) }));
    if (cursor.peek() >= 0) cursor.value += fresh.length;
  };
  const ready = lines.loaded.value.state === 'ready';
  useEffect(() => {
    if (!follow || !ready) {
      tail.stop();
      return undefined;
    }
    const connect = () => {
      if (document.hidden) return tail.stop();
      const withoutTime = asked.filter(([k]) => k !== 'from' && k !== 'to');
      return tail.start(
        withoutTime,
        (logs) => {
          noteSeen(logs);
          const known = new Set((valueOf(lines.loaded.peek())?.logs ?? []).slice(0, 500).map(identity));
          const fresh = logs.filter((l) => !known.has(identity(l))).toReversed();
          if (fresh.length === 0) return;
          const busy = (list.current?.scrollTop ?? 0) > 4 || open.peek();
          if (busy) held.value = [...fresh, ...held.peek()].slice(0, HELD_MAX);
          else put([...fresh, ...held.peek()]);
          if (!busy) held.value = [];
        },
        (n) => (skipped.value += n),
      );
    };
    connect();
    const onVisibility = () => {
      connect();
      if (!document.hidden) load();
    };
    document.addEventListener('visibilitychange', onVisibility);
    return () => {
      document.removeEventListener('visibilitychange', onVisibility);
      tail.stop();
    };
  }, [key, follow, ready]);
  const showHeld = () => {
    put(held.peek());
    held.value = [];
    open.value = false;
    cursor.value = -1;
    list.current?.scrollTo(0);
  };

  const more = async () => {
    const now = valueOf(lines.loaded.peek());
    if (!now || now.cursor === null || loadingMore.peek() || now.logs.length >= KEPT_MAX) return;
    loadingMore.value = true;
    try {
      const answer = await get('/api/v1/logs', {}, [
        ...asked,
        ['limit', String(PAGE)],
        ['order', 'desc'],
        ['cursor', now.cursor],
      ]);
      lines.update((before) =>
        before.cursor === now.cursor
          ? {
              ...before,
              logs: [...before.logs, ...answer.logs],
              cursor: answer.next_cursor,
              partial: before.partial || answer.partial,
            }
          : before,
      );
    } catch {
      lines.update((before) => ({ ...before, partial: true }));
    } finally {
      loadingMore.value = false;
    }
  };

  const value = valueOf(lines.loaded.value);
  const total = value?.logs.length ?? 0;
  const selected = value?.logs[cursor.value];
  const select = (index: number) => {
    if (total === 0) return;
    cursor.value = Math.max(0, Math.min(total - 1, index));
    list.current?.reveal(cursor.value, rowHeight);
  };
  const level = param('level');
  const toggleLive = () => {
    if (!isRelative(time)) setParams({ from: '-15m', to: undefined, live: undefined });
    else setParams({ live: paused() ? undefined : '0' }, 'replace');
  };
  const group = 'List';
  useKeys([
    { keys: '.', label: 'Follow live, or pause', group, run: toggleLive },
    { keys: 'j', label: 'Next line', group, run: () => select(cursor.peek() + 1) },
    { keys: 'k', label: 'Previous line', group, run: () => select(cursor.peek() - 1) },
    { keys: 'ArrowDown', label: '', group, run: () => select(cursor.peek() + 1) },
    { keys: 'ArrowUp', label: '', group, run: () => select(cursor.peek() - 1) },
    { keys: 'Home', label: 'Newest line', group, run: () => select(0) },
    { keys: 'End', label: 'Oldest line loaded', group, run: () => select(total - 1) },
    { keys: 'PageDown', label: '', group, run: () => select(cursor.peek() + (list.current?.visible ?? 10) - 1) },
    { keys: 'PageUp', label: '', group, run: () => select(cursor.peek() - (list.current?.visible ?? 10) + 1) },
    { keys: 'Enter', label: 'Details', group, run: () => cursor.peek() >= 0 && (open.value = true) },
    { keys: 'o', label: '', group, run: () => cursor.peek() >= 0 && (open.value = true) },
    {
      keys: 'v',
      label: 'Journey of the line',
      group,
      run: () =>
        selected?.trace_id && go(travel('journey', { id: selected.trace_id, sel: selected.span_id || undefined })),
    },
    ...(held.value.length > 0 ? [{ keys: 'r', label: 'Show what is new', group, run: showHeld }] : []),
    ...(open.value
      ? [{ keys: 'Escape', label: 'Close details', group, run: () => ((open.value = false), list.current?.focus()) }]
      : []),
  ]);

  if (value?.first && asked.every(([k]) => k === 'from' || k === 'to')) return <FirstRunBody />;
  const rowHeight = phone ? 46 : 28;
  const oldest = value?.logs.at(-1);
  const dated = oldest !== undefined && needsDates(ms(oldest.ts), zone(), serverNow());
  const filters = asked.filter(([k]) => k !== 'from' && k !== 'to');
  return (
    <div class={page.page}>
      <div class={page.title}>
        <h1>Logs</h1>
        <span class="dim small num" role="status">
          <Total of={valueOf(histogram.loaded.value)} loaded={total} />
        </span>
        <span class="sp" />
        <TailButton state={tail.state.value.state} follow={follow} onToggle={toggleLive} />
      </div>
      <FilterBar
        of="logs"
        hidden={['level', 'client', 'platform', 'lane'].filter((k) => k === 'level' || !phone)}
        placeholder="Words, “a phrase”, or *part*"
      >
        <Segments
          label="Least severity"
          name="level"
          choices={LEVEL_CHOICES}
          value={isLevel(level) && LEVEL_CHOICES.some((c) => c.value === level) ? level : 'all'}
          onChange={(v) => setParams({ level: v === 'all' ? undefined : v, sel: undefined })}
        />
      </FilterBar>
      <section class={`card ${css.histogram}`} aria-label="Lines over time">
        <View of={histogram.loaded.value} what="how many lines there are" rows={3}>
          {(h) => <Severity of={h} phone={phone} />}
        </View>
      </section>
      <div class={page.split}>
        <section class={`card ${css.card} ${dated ? css.dated : ''}`} aria-label="Lines">
          {held.value.length > 0 && (
            <button type="button" class={css.fresh} onClick={showHeld}>
              {held.value.length >= HELD_MAX ? `${count(HELD_MAX)}+` : count(held.value.length)} new · show
            </button>
          )}
          {skipped.value > 0 && (
            <Note tone="warn" state="dropped" action={{ label: 'Hide', run: () => (skipped.value = 0) }}>
              {plural(skipped.value, 'line')} left out of the tail: they came faster than they could be shown. They are
              stored.
            </Note>
          )}
          {value?.partial && (
            <Note tone="warn" state="partial" action={{ label: 'Look again', run: load }}>
              A part of the store did not answer; lines may be missing.
            </Note>
          )}
          <View
            of={lines.loaded.value}
            what={filters.length > 0 ? 'matching lines' : 'lines'}
            rows={14}
            onCancel={() => lines.cancel()}
            onNarrow={{ label: 'Only the last 15 min', run: () => setParams({ from: '-15m', to: undefined }) }}
          >
            {({ logs }) =>
              logs.length === 0 ? (
                <NoLines filters={filters} />
              ) : (
                <VirtualList
                  label="Log lines, newest first"
                  columns={4}
                  count={logs.length}
                  rowHeight={rowHeight}
                  handle={list}
                  activeId={cursor.value >= 0 ? `line-${cursor.value}` : undefined}
                  onNearEnd={() => void more()}
                  head={
                    phone ? undefined : (
                      <div role="row" class={`${css.row} ${css.headRow}`} aria-rowindex={1}>
                        <span role="columnheader">Time</span>
                        <span role="columnheader">Severity</span>
                        <span role="columnheader">Service</span>
                        <span role="columnheader">Message</span>
                      </div>
                    )
                  }
                  row={(index) => (
                    <Line
                      log={logs[index]!}
                      index={index}
                      dated={dated}
                      find={find}
                      selected={index === cursor.value}
                      onSelect={() => {
                        cursor.value = index;
                        open.value = true;
                        list.current?.focus();
                      }}
                    />
                  )}
                />
              )
            }
          </View>
          {lines.loaded.value.state === 'idle' && (
            <Empty why="empty" title="Cancelled.">
              <Button small onClick={load}>
                Look again
              </Button>
            </Empty>
          )}
        </section>
        {open.value && selected && (
          <Pane
            label="Log line"
            title={
              <h2 class="ell foreign">{oneLine(selected.event_name || selected.service_name || 'Log line', 120)}</h2>
            }
            position={`${count(cursor.value + 1)} of ${count(total)}`}
            onClose={() => {
              open.value = false;
              list.current?.focus();
            }}
          >
            <LogDetail log={selected} onFilter={(k, v) => setParams({ [k === 'client_id' ? 'client' : k]: v })} />
          </Pane>
        )}
      </div>
    </div>
  );
}

function identity(log: Log): string {
  return `${log.ts}|${log.span_id}|${log.service_name}|${log.body.slice(0, 80)}`;
}

function Total({ of, loaded }: { readonly of: LogHistogram | undefined; readonly loaded: number }) {
  if (!of) return null;
  return (
    <>
      {plural(of.total, 'line')}
      {loaded > 0 && loaded < of.total ? `, newest ${count(loaded)} loaded` : ''}
    </>
  );
}

function TailButton({
  state,
  follow,
  onToggle,
}: {
  readonly state: string;
  readonly follow: boolean;
  readonly onToggle: () => void;
}) {
  const word = !follow
    ? 'Follow live'
    : state === 'following'
      ? 'Following'
      : state === 'refused'
        ? 'No live tail'
        : state === 'reconnecting'
          ? 'Reconnecting'
          : 'Connecting';
  return (
    <Button small icon={follow ? 'circle-pause' : 'circle-play'} keys="." aria-pressed={follow} onClick={onToggle}>
      {word}
    </Button>
  );
}

// Quiet when healthy: everything below a warning is one grey.
function Severity({ of, phone }: { readonly of: LogHistogram; readonly phone: boolean }) {
  const { times, series, sums } = useMemo(() => {
    const calm = of.buckets.map((b) => b.trace + b.debug + b.info + b.unset);
    const warn = of.buckets.map((b) => b.warn);
    const bad = of.buckets.map((b) => b.error + b.fatal);
    const made: Bars[] = [
      { label: 'error', token: '--bad-fill', counts: bad },
      { label: 'warning', token: '--warn-fill', counts: warn },
      { label: 'info and below', token: '--mute-fill', faded: true, counts: calm },
    ];
    const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
    return {
      times: of.buckets.map((b) => ms(b.ts)),
      series: made,
      sums: { calm: sum(calm), warn: sum(warn), bad: sum(bad) },
    };
  }, [of]);
  const table = param('table') === '1';
  const z = zone();
  const label = `${plural(of.total, 'line')}: ${count(sums.bad)} errors, ${count(sums.warn)} warnings, ${count(sums.calm)} info and below, in ${plural(times.length, 'bucket')} of ${duration(of.bucket_ms)}`;
  return (
    <div class={css.chart}>
      <div class={css.legend}>
        <LegendItem token="--bad-fill" label="error" n={sums.bad} level="error" />
        <LegendItem token="--warn-fill" label="warning" n={sums.warn} level="warn" />
        <LegendItem faded token="--mute-fill" label="info and below" n={sums.calm} level="" />
        <span class="sp" />
        {!phone && <span class="faint small num">{duration(of.bucket_ms)} a bar</span>}
        <Button
          small
          look="ghost"
          icon={table ? 'chart-column' : 'table'}
          aria-pressed={table}
          aria-label={table ? 'View as chart' : 'View as table'}
          title={table ? 'View as chart' : 'View as table'}
          onClick={() => setParams({ table: table ? undefined : '1' }, 'replace')}
        />
      </div>
      {table ? (
        <div class={css.tableBox} tabIndex={0} role="region" aria-label="Lines over time as a table">
          <table>
            <thead>
              <tr>
                <th scope="col">From</th>
                <th scope="col">Errors</th>
                <th scope="col">Warnings</th>
                <th scope="col">Info and below</th>
              </tr>
            </thead>
            <tbody>
              {times.map((t, i) => (
                <tr key={t}>
                  <td class="num">{instant(t, z, serverNow())}</td>
                  {series.map((s) => (
                    <td key={s.label} class="num">
                      {count(s.counts[i]!)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <Histogram
          label={label}
          times={times}
          widthMs={of.bucket_ms}
          series={series}
          zone={z}
          height={phone ? 88 : 112}
          onSelect={(from, to) =>
            setParams({ from: new Date(from).toISOString(), to: new Date(to).toISOString(), sel: undefined })
          }
        />
      )}
    </div>
  );
}

function LegendItem({
  token: colour,
  faded = false,
  label,
  n,
  level,
}: {
  readonly token: string;
  readonly faded?: boolean;
  readonly label: string;
  readonly n: number;
  readonly level: string;
}) {
  return (
    <button
      type="button"
      class={css.legendItem}
      onClick={() => setParams({ level: param('level') === level ? undefined : level || undefined })}
      title={level === '' ? 'All severities' : `Only ${label} and above`}
    >
      <i style={{ background: `var(${colour})`, opacity: faded ? 0.6 : 1 }} />
      <span class="num">{count(n)}</span> {label}
    </button>
  );
}

function NoLines({ filters }: { readonly filters: readonly (readonly [string, string])[] }) {
  const time = range.value;
  if (filters.length > 0) {
    const last = location.value.query.findLast(([k]) => !['from', 'to', 'tz', 'live', 'table', 'sel'].includes(k));
    return (
      <Empty why="filtered" title="No line matches.">
        <p class="dim foreign">Looked for {filters.map(([k, v]) => `${k} ${oneLine(v, 60)}`).join(', ')}.</p>
        <div class="row wrap">
          {last && (
            <Button small onClick={() => setParams({ [last[0]]: undefined })}>
              Clear {oneLine(last[0] === 'q' ? 'the search' : last[0], 30)}
            </Button>
          )}
          <Button small look="ghost" onClick={() => setParams({ from: '-7d', to: undefined })}>
            Look in the last 7 d
          </Button>
        </div>
      </Empty>
    );
  }
  return (
    <Empty why="no-data" title={isRelative(time) ? 'No log arrived in this time.' : 'No log in this time.'}>
      <p class="dim">Either nothing was written, or a sender stopped. The line at the bottom says what arrives now.</p>
      <Button small onClick={() => setParams({ from: '-24h', to: undefined })}>
        Look in the last 24 h
      </Button>
    </Empty>
  );
}

function Line(props: {
  readonly dated: boolean;
  readonly log: Log;
  readonly index: number;
  readonly find: RegExp | undefined;
  readonly selected: boolean;
  readonly onSelect: () => void;
}) {
  const { log } = props;
  const tone = levelTone(log.level);
  const text = cell(log.body || log.event_name, 500);
  return (
    // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/interactive-supports-focus
    <div
      role="row"
      id={`line-${props.index}`}
      class={`${css.row} ${props.selected ? css.selected : ''}`}
      aria-rowindex={props.index + 2}
      aria-selected={props.selected}
      onClick={props.onSelect}
    >
      <span role="gridcell" class={`mono faint ${css.time}`}>
        {props.dated ? instant(ms(log.ts), zone(), serverNow()) : clockMs(ms(log.ts), zone())}
      </span>
      <span role="gridcell" class={css.level}>
        {tone === 'none' ? (
          <span class="dim">{levelWord(log.level)}</span>
        ) : (
          <Status tone={tone}>{levelWord(log.level)}</Status>
        )}
      </span>
      <span role="gridcell" class={`ell dim foreign ${css.service}`}>
        {oneLine(log.service_name, 60)}
      </span>
      <span role="gridcell" class={`ell foreign ${css.message}`} dir="auto">
        {props.find ? pieces(text, props.find).map((p, i) => (p.hit ? <mark key={i}>{p.text}</mark> : p.text)) : text}
        {log.trace_id !== '' && (
          <a
            class={css.trace}
            tabIndex={-1}
            href={travel('journey', { id: log.trace_id, sel: log.span_id || undefined })}
            aria-label="Journey of this line"
            title="Journey of this line (v)"
            onClick={(event) => event.stopPropagation()}
            onClickCapture={(event) => {
              if (event.button === 0 && !event.metaKey && !event.ctrlKey) {
                event.preventDefault();
                go(event.currentTarget.href);
              }
            }}
          >
            <Icon name="waypoints" size={13} />
          </a>
        )}
      </span>
    </div>
  );
}
