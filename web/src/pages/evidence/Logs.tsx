// Evidence › Logs: search, how much of what severity when, the lines, and the live tail.
import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { get, serverNow, token, type Log, type LogHistogram } from '../../data/api';
import { noteSeen, paused, question, range, zone } from '../../data/filters';
import { Resource, valueOf } from '../../data/resource';
import { recovered } from '../../data/status';
import { Tail } from '../../data/tail';
import { usePagedList } from '../../data/usePagedList';
import { count, duration, instant, needsDates, oneLine, plural } from '../../lib/fmt';
import { levelTone, levelWord, isLevel, type Level } from '../../lib/level';
import { matcher, pieces } from '../../lib/search';
import { cell } from '../../lib/redacted';
import { isRelative, ms } from '../../lib/time';
import { go, location, param, setParams, travel } from '../../routes';
import { FirstRunBody } from '../start/FirstRun';
import { Button, Segments } from '../../ui/Button';
import { Histogram, type Bars } from '../../ui/Histogram';
import { Icon } from '../../ui/Icon';
import { Note, View } from '../../ui/States';
import { Status } from '../../ui/Status';
import { useKeys } from '../../ui/useKeys';
import { useListCursor } from '../../ui/useListCursor';
import { useMedia } from '../../ui/useMedia';
import { FilterBar } from './FilterBar';
import { LogDetail } from './RowPane';
import { HeadRow, JourneyLink, ListRow, RowList, When, type RowPlace } from './RowList';
import page from './Evidence.module.css';
import css from './Logs.module.css';

const HELD_MAX = 2000; // lines waiting behind "n new"
const KNOWN_ROWS = 500; // newest lines among which a line of the tail may be already
const HISTOGRAM_EVERY_MS = 5000;

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

  const rowHeight = phone ? 46 : 28;
  const lines = usePagedList({ path: '/api/v1/logs', asked, key, pick: (answer) => answer.logs });
  const cursor = useListCursor({ rows: lines.rows, same, key, one: 'line', rowHeight });
  const histogram = useMemo(() => new Resource<LogHistogram>(), []);
  const tail = useMemo(() => new Tail(), []);
  const held = useSignal<readonly Log[]>([]);
  const skipped = useSignal(0);

  useEffect(() => {
    held.value = [];
    skipped.value = 0;
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
      histogram.stop();
      tail.stop();
    },
    [],
  );

  // New lines go in on top while the top is in sight; else they wait, because nothing moves under the cursor.
  const ready = lines.loaded.state === 'ready';
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
          const known = new Set(lines.peek().slice(0, KNOWN_ROWS).map(identity));
          const fresh = logs.filter((l) => !known.has(identity(l))).toReversed();
          if (fresh.length === 0) return;
          const busy = (cursor.list.current?.scrollTop ?? 0) > 4 || cursor.isOpen();
          if (busy) held.value = [...fresh, ...held.peek()].slice(0, HELD_MAX);
          else lines.putOnTop([...fresh, ...held.peek()]);
          if (!busy) held.value = [];
        },
        (n) => (skipped.value += n),
      );
    };
    connect();
    const onVisibility = () => {
      connect();
      if (!document.hidden) void lines.load();
    };
    document.addEventListener('visibilitychange', onVisibility);
    return () => {
      document.removeEventListener('visibilitychange', onVisibility);
      tail.stop();
    };
  }, [key, follow, ready]);
  // What came while nobody followed is asked for, or the new lines would stand on top of a gap.
  const followed = useRef(follow);
  useEffect(() => {
    if (follow && !followed.current) void lines.load();
    followed.current = follow;
  }, [follow]);
  const showHeld = () => {
    lines.putOnTop(held.peek());
    held.value = [];
    cursor.reset();
  };

  const level = param('level');
  const toggleLive = () => {
    if (!isRelative(time)) setParams({ from: '-15m', to: undefined, live: undefined });
    else setParams({ live: paused() ? undefined : '0' }, 'replace');
  };
  const group = 'List';
  const { trace_id: traceId = '', span_id: spanId } = cursor.row ?? {};
  useKeys([
    { keys: '.', label: 'Follow live, or pause', group, run: toggleLive },
    {
      keys: 'v',
      label: 'Journey of the line',
      group,
      run: () => traceId !== '' && go(travel('journey', { id: traceId, sel: spanId || undefined })),
    },
    ...(held.value.length > 0 ? [{ keys: 'r', label: 'Show what is new', group, run: showHeld }] : []),
  ]);

  if (lines.first && asked.every(([k]) => k === 'from' || k === 'to')) return <FirstRunBody />;
  const oldest = lines.rows.at(-1);
  const dated = oldest !== undefined && needsDates(ms(oldest.ts), zone(), serverNow());
  const filters = asked.filter(([k]) => k !== 'from' && k !== 'to');
  return (
    <div class={page.page}>
      <div class={page.title}>
        <h1>Logs</h1>
        <span class="dim small num" role="status">
          <Total of={valueOf(histogram.loaded.value)} loaded={lines.rows.length} />
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
      <RowList
        one="line"
        label="Log lines, newest first"
        list={lines}
        cursor={cursor}
        filters={filters}
        dated={dated}
        rowHeight={rowHeight}
        columns={4}
        head={
          phone ? undefined : (
            <HeadRow shape={css.row!}>
              <span role="columnheader">Time</span>
              <span role="columnheader">Severity</span>
              <span role="columnheader">Service</span>
              <span role="columnheader">Message</span>
            </HeadRow>
          )
        }
        above={
          <>
            {held.value.length > 0 && (
              <button type="button" class={css.fresh} onClick={showHeld}>
                {held.value.length >= HELD_MAX ? `${count(HELD_MAX)}+` : count(held.value.length)} new · show
              </button>
            )}
            {skipped.value > 0 && (
              <Note tone="warn" state="dropped" action={{ label: 'Hide', run: () => (skipped.value = 0) }}>
                {plural(skipped.value, 'line')} left out of the tail: they came faster than they could be shown. They
                are stored.
              </Note>
            )}
          </>
        }
        row={(log, place) => <Line log={log} dated={dated} find={find} place={place} />}
        paneLabel="Log line"
        pane={(log) => ({
          title: log.event_name || log.service_name || 'Log line',
          body: <LogDetail log={log} onFilter={(k, v) => setParams({ [k === 'client_id' ? 'client' : k]: v })} />,
        })}
      />
    </div>
  );
}

function identity(log: Log): string {
  return `${log.ts}|${log.span_id}|${log.service_name}|${log.body.slice(0, 80)}`;
}

function same(a: Log, b: Log): boolean {
  return a === b || (a.ts === b.ts && identity(a) === identity(b));
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

function Line(props: {
  readonly dated: boolean;
  readonly log: Log;
  readonly find: RegExp | undefined;
  readonly place: RowPlace;
}) {
  const { log } = props;
  const tone = levelTone(log.level);
  const text = cell(log.body || log.event_name, 500);
  return (
    <ListRow place={props.place} shape={css.row!}>
      <When ts={log.ts} dated={props.dated} />
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
          <JourneyLink traceId={log.trace_id} spanId={log.span_id} class={css.trace!} label="Journey of this line">
            <Icon name="waypoints" size={13} />
          </JourneyLink>
        )}
      </span>
    </ListRow>
  );
}
