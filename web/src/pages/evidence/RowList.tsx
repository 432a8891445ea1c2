// What the lists of evidence have in common: the rows with what stands above, below and beside them.
import type { ComponentChildren } from 'preact';
import { serverNow } from '../../data/api';
import { range, zone } from '../../data/filters';
import type { PagedList } from '../../data/usePagedList';
import { clockMs, count, instant, oneLine } from '../../lib/fmt';
import { isRelative, ms } from '../../lib/time';
import { location, onLinkClick, setParams, travel } from '../../routes';
import { Button } from '../../ui/Button';
import { Pane } from '../../ui/Pane';
import { Empty, Note, View } from '../../ui/States';
import type { ListCursor } from '../../ui/useListCursor';
import { VirtualList } from '../../ui/VirtualList';
import css from './Evidence.module.css';

type Filters = readonly (readonly [string, string])[];

export function RowList<Row>(props: {
  readonly one: string; // "line"
  readonly label: string;
  readonly list: PagedList<Row>;
  readonly cursor: ListCursor<Row>;
  readonly filters: Filters;
  readonly dated: boolean;
  readonly rowHeight: number;
  readonly columns: number;
  readonly head: ComponentChildren;
  readonly above?: ComponentChildren;
  readonly row: (row: Row, place: RowPlace) => ComponentChildren;
  readonly pane: (row: Row) => { readonly title: string; readonly body: ComponentChildren };
  readonly paneLabel: string;
}) {
  const { one, list, cursor, filters } = props;
  const { index: at, row: selected } = cursor;
  const pane = cursor.open && selected !== undefined ? props.pane(selected) : undefined;
  return (
    <div class={css.split}>
      <section class={`card ${css.card} ${props.dated ? css.dated : ''}`} aria-label={`${capital(one)}s`}>
        {props.above}
        {list.partial && (
          <Note tone="warn" state="partial" action={{ label: 'Look again', run: () => void list.load() }}>
            A part of the store did not answer; {one}s may be missing.
          </Note>
        )}
        <View
          of={list.loaded}
          what={filters.length > 0 ? `matching ${one}s` : `${one}s`}
          rows={14}
          onCancel={list.cancel}
          onNarrow={{ label: 'Only the last 15 min', run: () => setParams({ from: '-15m', to: undefined }) }}
        >
          {({ rows }) =>
            rows.length === 0 ? (
              <Nothing one={one} filters={filters} />
            ) : (
              <VirtualList
                label={props.label}
                columns={props.columns}
                count={rows.length}
                rowHeight={props.rowHeight}
                handle={cursor.list}
                activeId={at >= 0 ? `${one}-${at}` : undefined}
                onNearEnd={() => void list.more()}
                head={props.head}
                row={(index, rowIndex) =>
                  props.row(rows[index]!, {
                    id: `${one}-${index}`,
                    rowIndex,
                    selected: index === at,
                    onSelect: () => cursor.show(index),
                  })
                }
              />
            )
          }
        </View>
      </section>
      {pane && (
        <Pane
          label={props.paneLabel}
          title={<h2 class="ell foreign">{oneLine(pane.title, 160)}</h2>}
          position={`${count(at + 1)} of ${count(list.rows.length)}`}
          onClose={cursor.close}
        >
          {pane.body}
        </Pane>
      )}
    </div>
  );
}
const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);

export interface RowPlace {
  readonly id: string;
  readonly rowIndex: number;
  readonly selected: boolean;
  readonly onSelect: () => void;
}

// One row; `shape` says how its cells lie.
export function ListRow(props: {
  readonly place: RowPlace;
  readonly shape: string;
  readonly children: ComponentChildren;
}) {
  const { place } = props;
  return (
    // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/interactive-supports-focus
    <div
      role="row"
      id={place.id}
      class={`${css.row} ${props.shape} ${place.selected ? css.selected : ''}`}
      aria-rowindex={place.rowIndex}
      aria-selected={place.selected}
      onClick={place.onSelect}
    >
      {props.children}
    </div>
  );
}

export function HeadRow(props: { readonly shape: string; readonly children: ComponentChildren }) {
  return (
    <div role="row" class={`${css.row} ${css.headRow} ${props.shape}`} aria-rowindex={1}>
      {props.children}
    </div>
  );
}

// When a row was. Dates are shown on every row or on none, as `dated` says, so that the column has one width.
export function When({ ts, dated }: { readonly ts: string; readonly dated: boolean }) {
  return (
    <span role="gridcell" class={`mono faint ${css.time}`}>
      {dated ? instant(ms(ts), zone(), serverNow()) : clockMs(ms(ts), zone())}
    </span>
  );
}

// The way from a row into its journey; a click on it does not select the row.
export function JourneyLink(props: {
  readonly traceId: string;
  readonly spanId: string;
  readonly class: string;
  readonly label?: string;
  readonly children: ComponentChildren;
}) {
  return (
    <a
      class={props.class}
      tabIndex={-1}
      href={travel('journey', { id: props.traceId, sel: props.spanId || undefined })}
      aria-label={props.label}
      title={props.label && `${props.label} (v)`}
      onClick={(event) => {
        event.stopPropagation();
        onLinkClick(event);
      }}
    >
      {props.children}
    </a>
  );
}

const OF_VIEW = new Set(['from', 'to', 'tz', 'live', 'table', 'sel']);

function Nothing({ one, filters }: { readonly one: string; readonly filters: Filters }) {
  if (filters.length === 0) {
    return (
      <Empty why="no-data" title={`No ${one} ${isRelative(range.value) ? 'arrived ' : ''}in this time.`}>
        <p class="dim">
          Either nothing was written, or a sender stopped. The line at the bottom says what arrives now.
        </p>
        <Button small onClick={() => setParams({ from: '-24h', to: undefined })}>
          Look in the last 24 h
        </Button>
      </Empty>
    );
  }
  const last = location.value.query.findLast(([key]) => !OF_VIEW.has(key));
  return (
    <Empty why="filtered" title={`No ${one} matches.`}>
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
