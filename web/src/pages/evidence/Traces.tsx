// Evidence › Traces: the latest spans that match, each a way into its journey.
import { useMemo } from 'preact/hooks';
import { serverNow, type Span } from '../../data/api';
import { question, range, zone } from '../../data/filters';
import { usePagedList } from '../../data/usePagedList';
import { duration, middle, needsDates, oneLine } from '../../lib/fmt';
import { ms } from '../../lib/time';
import { go, location, param, setParams, travel } from '../../routes';
import { FirstRunBody } from '../start/FirstRun';
import { Button, Segments } from '../../ui/Button';
import { Status } from '../../ui/Status';
import { useKeys } from '../../ui/useKeys';
import { useListCursor } from '../../ui/useListCursor';
import { useMedia } from '../../ui/useMedia';
import { FilterBar } from './FilterBar';
import { SpanDetail } from './RowPane';
import { HeadRow, JourneyLink, ListRow, RowList, When, type RowPlace } from './RowList';
import page from './Evidence.module.css';
import css from './Traces.module.css';

export default function Traces() {
  const query = location.value.query;
  const time = range.value;
  const asked = useMemo(() => question(query, 'spans', time), [JSON.stringify(question(query, 'spans', time))]);
  const key = JSON.stringify(asked);
  const phone = useMedia('(max-width: 820px)');
  const rowHeight = phone ? 50 : 30;
  const spans = usePagedList({ path: '/api/v1/spans', asked, key, pick: (answer) => answer.spans });
  const cursor = useListCursor({ rows: spans.rows, same, key, one: 'span', rowHeight });
  const load = () => void spans.load();
  const { row: selected } = cursor;
  const group = 'List';
  useKeys([
    {
      keys: 'v',
      label: 'Journey of the span',
      group,
      run: () => selected && go(travel('journey', { id: selected.trace_id, sel: selected.span_id })),
    },
    { keys: 'r', label: 'Load again', group, run: load },
  ]);
  if (spans.first && asked.every(([k]) => k === 'from' || k === 'to')) return <FirstRunBody />;
  const oldest = spans.rows.at(-1);
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
      <RowList
        one="span"
        label="Spans, newest first"
        list={spans}
        cursor={cursor}
        filters={filters}
        dated={dated}
        rowHeight={rowHeight}
        columns={6}
        head={
          phone ? undefined : (
            <HeadRow shape={css.row!}>
              <span role="columnheader">Time</span>
              <span role="columnheader">Result</span>
              <span role="columnheader">Service</span>
              <span role="columnheader">Name</span>
              <span role="columnheader" class={css.right}>
                Took
              </span>
              <span role="columnheader" class={css.traceCell}>
                Trace
              </span>
            </HeadRow>
          )
        }
        row={(span, place) => <SpanRow span={span} dated={dated} place={place} />}
        paneLabel="Span"
        pane={(span) => ({ title: span.name, body: <SpanDetail span={span} /> })}
      />
    </div>
  );
}

function same(a: Span, b: Span): boolean {
  return a.span_id === b.span_id && a.trace_id === b.trace_id;
}

function SpanRow({ span, dated, place }: { readonly span: Span; readonly dated: boolean; readonly place: RowPlace }) {
  return (
    <ListRow place={place} shape={css.row!}>
      <When ts={span.ts} dated={dated} />
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
        <JourneyLink traceId={span.trace_id} spanId={span.span_id} class="link">
          {middle(span.trace_id, 14)}
        </JourneyLink>
      </span>
    </ListRow>
  );
}
