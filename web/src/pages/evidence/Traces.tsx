// Evidence › Traces: the latest spans that match, each a way into its journey.
import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { get, serverNow, token, type Span } from '../../data/api';
import { noteSeen, question, range, zone } from '../../data/filters';
import { Resource, valueOf } from '../../data/resource';
import { recovered } from '../../data/status';
import { count, duration, instant, middle, needsDates, oneLine, plural } from '../../lib/fmt';
import { ms } from '../../lib/time';
import { go, location, param, setParams, travel } from '../../routes';
import { neverReceived } from '../start/first_data';
import { FirstRunBody } from '../start/FirstRun';
import { Button, Segments } from '../../ui/Button';
import { Pane } from '../../ui/Pane';
import { Empty, Note, View } from '../../ui/States';
import { Status } from '../../ui/Status';
import { useKeys } from '../../ui/useKeys';
import { useMedia } from '../../ui/useMedia';
import { VirtualList, type VirtualListHandle } from '../../ui/VirtualList';
import { FilterBar } from './FilterBar';
import { SpanDetail } from './RowPane';
import page from './Evidence.module.css';
import css from './Traces.module.css';

const PAGE = 200;
const KEPT_MAX = 20_000;

interface Page {
  readonly spans: readonly Span[];
  readonly cursor: string | null;
  readonly partial: boolean;
  readonly first: boolean;
}

export default function Traces() {
  const query = location.value.query;
  const time = range.value;
  const asked = useMemo(() => question(query, 'spans', time), [JSON.stringify(question(query, 'spans', time))]);
  const key = JSON.stringify(asked);
  const phone = useMedia('(max-width: 820px)');
  const spans = useMemo(() => new Resource<Page>(), []);
  const cursor = useSignal(-1);
  const open = useSignal(false);
  const busy = useSignal(false);
  const list = useRef<VirtualListHandle | null>(null);

  const load = () =>
    void spans.load(key, async (abort) => {
      const answer = await get('/api/v1/spans', {}, [...asked, ['limit', String(PAGE)], ['order', 'desc']], abort);
      noteSeen(answer.spans);
      const first = answer.spans.length === 0 && (await neverReceived(abort).catch(() => false));
      return { spans: answer.spans, cursor: answer.next_cursor, partial: answer.partial, first };
    });
  useEffect(() => {
    cursor.value = -1;
    open.value = false;
    load();
  }, [key, recovered.value, token.value]);
  useEffect(() => () => spans.stop(), []);
  const more = async () => {
    const now = valueOf(spans.loaded.peek());
    if (!now || now.cursor === null || busy.peek() || now.spans.length >= KEPT_MAX) return;
    busy.value = true;
    try {
      const answer = await get('/api/v1/spans', {}, [
        ...asked,
        ['limit', String(PAGE)],
        ['order', 'desc'],
        ['cursor', now.cursor],
      ]);
      spans.update((b) =>
        b.cursor === now.cursor
          ? {
              ...b,
              spans: [...b.spans, ...answer.spans],
              cursor: answer.next_cursor,
              partial: b.partial || answer.partial,
            }
          : b,
      );
    } catch {
      spans.update((b) => ({ ...b, partial: true }));
    } finally {
      busy.value = false;
    }
  };

  const value = valueOf(spans.loaded.value);
  const total = value?.spans.length ?? 0;
  const selected = value?.spans[cursor.value];
  const rowHeight = phone ? 50 : 30;
  const select = (index: number) => {
    if (total === 0) return;
    cursor.value = Math.max(0, Math.min(total - 1, index));
    list.current?.reveal(cursor.value, rowHeight);
  };
  const enter = () => selected && go(travel('journey', { id: selected.trace_id, sel: selected.span_id }));
  const group = 'List';
  useKeys([
    { keys: 'j', label: 'Next span', group, run: () => select(cursor.peek() + 1) },
    { keys: 'k', label: 'Previous span', group, run: () => select(cursor.peek() - 1) },
    { keys: 'ArrowDown', label: '', group, run: () => select(cursor.peek() + 1) },
    { keys: 'ArrowUp', label: '', group, run: () => select(cursor.peek() - 1) },
    { keys: 'Home', label: 'Newest span', group, run: () => select(0) },
    { keys: 'End', label: 'Oldest span loaded', group, run: () => select(total - 1) },
    { keys: 'Enter', label: 'Details', group, run: () => cursor.peek() >= 0 && (open.value = true) },
    { keys: 'v', label: 'Journey of the span', group, run: enter },
    { keys: 'r', label: 'Load again', group, run: load },
    ...(open.value
      ? [{ keys: 'Escape', label: 'Close details', group, run: () => ((open.value = false), list.current?.focus()) }]
      : []),
  ]);
  if (value?.first && asked.every(([k]) => k === 'from' || k === 'to')) return <FirstRunBody />;
  const oldest = value?.spans.at(-1);
  const dated = oldest !== undefined && needsDates(ms(oldest.ts), zone(), serverNow());
  const filters = asked.filter(([k]) => k !== 'from' && k !== 'to');
  const status = param('status');
  const slow = param('duration_ms_min');
  return (
    <div class={page.page}>
      <div class={page.title}>
        <h1>Traces</h1>
        <span class={`dim small ${css.hint}`}>newest spans that match; Enter for details, v for the whole journey</span>
        <span class="sp" />
        <Button small icon="rotate-cw" keys="r" onClick={load}>
          Load again
        </Button>
      </div>
      <FilterBar
        of="spans"
        hidden={['status', 'duration_ms_min', ...(phone ? [] : ['client', 'platform', 'lane'])]}
        placeholder="Words in names, messages and attributes"
      >
        <Segments
          label="Result"
          name="status"
          choices={[
            { value: 'all', label: 'All' },
            { value: 'error', label: 'Failed' },
          ]}
          value={status === 'error' ? 'error' : 'all'}
          onChange={(v) => setParams({ status: v === 'all' ? undefined : v })}
        />
        <Segments
          label="At least this long"
          name="slow"
          choices={[
            { value: '', label: 'Any length' },
            { value: '100', label: '≥ 100 ms' },
            { value: '1000', label: '≥ 1 s' },
            { value: '10000', label: '≥ 10 s' },
          ]}
          value={['100', '1000', '10000'].includes(slow) ? slow : ''}
          onChange={(v) => setParams({ duration_ms_min: v || undefined })}
        />
      </FilterBar>
      <div class={page.split}>
        <section class={`card ${css.card} ${dated ? css.dated : ''}`} aria-label="Spans">
          {value?.partial && (
            <Note tone="warn" state="partial" action={{ label: 'Look again', run: load }}>
              A part of the store did not answer; spans may be missing.
            </Note>
          )}
          <View
            of={spans.loaded.value}
            what="spans"
            rows={14}
            onCancel={() => spans.cancel()}
            onNarrow={{ label: 'Only the last 15 min', run: () => setParams({ from: '-15m', to: undefined }) }}
          >
            {({ spans: rows }) =>
              rows.length === 0 ? (
                <NoSpans filters={filters} />
              ) : (
                <VirtualList
                  label="Spans, newest first"
                  columns={6}
                  count={rows.length}
                  rowHeight={rowHeight}
                  handle={list}
                  activeId={cursor.value >= 0 ? `span-${cursor.value}` : undefined}
                  onNearEnd={() => void more()}
                  head={
                    phone ? undefined : (
                      <div role="row" class={`${css.row} ${css.headRow}`} aria-rowindex={1}>
                        <span role="columnheader">Time</span>
                        <span role="columnheader">Result</span>
                        <span role="columnheader">Service</span>
                        <span role="columnheader">Name</span>
                        <span role="columnheader" class={css.right}>
                          Took
                        </span>
                        <span role="columnheader">Trace</span>
                      </div>
                    )
                  }
                  row={(index) => (
                    <Row
                      span={rows[index]!}
                      index={index}
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
          {spans.loaded.value.state === 'idle' && (
            <Empty why="empty" title="Cancelled.">
              <Button small onClick={load}>
                Look again
              </Button>
            </Empty>
          )}
        </section>
        {open.value && selected && (
          <Pane
            label="Span"
            title={<h2 class="ell foreign">{oneLine(selected.name, 160)}</h2>}
            position={`${count(cursor.value + 1)} of ${count(total)}`}
            onClose={() => {
              open.value = false;
              list.current?.focus();
            }}
          >
            <SpanDetail span={selected} />
          </Pane>
        )}
      </div>
    </div>
  );
}

function NoSpans({ filters }: { readonly filters: readonly (readonly [string, string])[] }) {
  if (filters.length === 0) {
    return (
      <Empty why="no-data" title="No span arrived in this time.">
        <Button small onClick={() => setParams({ from: '-24h', to: undefined })}>
          Look in the last 24 h
        </Button>
      </Empty>
    );
  }
  const last = location.value.query.findLast(([k]) => !['from', 'to', 'tz', 'live', 'sel'].includes(k));
  return (
    <Empty why="filtered" title="No span matches.">
      <p class="dim foreign">
        Looked for {filters.map(([k, v]) => `${k} ${oneLine(v, 60)}`).join(', ')}; {plural(filters.length, 'filter')}.
      </p>
      {last && (
        <Button small onClick={() => setParams({ [last[0]]: undefined })}>
          Clear {oneLine(last[0] === 'q' ? 'the search' : last[0], 30)}
        </Button>
      )}
    </Empty>
  );
}

function Row({
  span,
  index,
  selected,
  onSelect,
}: {
  readonly span: Span;
  readonly index: number;
  readonly selected: boolean;
  readonly onSelect: () => void;
}) {
  return (
    // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/interactive-supports-focus
    <div
      role="row"
      id={`span-${index}`}
      class={`${css.row} ${selected ? css.selected : ''}`}
      aria-rowindex={index + 2}
      aria-selected={selected}
      onClick={onSelect}
    >
      <span role="gridcell" class={`mono faint ${css.time}`}>
        {instant(ms(span.ts), zone(), serverNow())}
      </span>
      <span role="gridcell">
        {span.status === 'error' ? (
          <Status tone="bad">failed</Status>
        ) : (
          <span class="faint">{span.status === 'ok' ? 'ok' : ''}</span>
        )}
      </span>
      <span role="gridcell" class="ell dim foreign">
        {oneLine(span.service_name, 60)}
      </span>
      <span role="gridcell" class={`ell mono foreign ${css.name}`}>
        {oneLine(span.name, 200)}
      </span>
      <span role="gridcell" class={`num ${css.right}`}>
        {duration(span.duration_ms)}
      </span>
      <span role="gridcell" class={`mono ${css.traceCell}`}>
        <a
          class="link"
          tabIndex={-1}
          href={travel('journey', { id: span.trace_id, sel: span.span_id })}
          onClick={(event) => event.stopPropagation()}
          onClickCapture={(event) => {
            if (event.button === 0 && !event.metaKey && !event.ctrlKey) {
              event.preventDefault();
              go(event.currentTarget.href);
            }
          }}
        >
          {middle(span.trace_id, 14)}
        </a>
      </span>
    </div>
  );
}
