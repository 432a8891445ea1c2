// What one row of a journey is: failure first, then when and where, identifiers, attributes, events, links, resource.
import { useEffect, useMemo } from 'preact/hooks';
import type { Span } from '../../data/api';
import { Resource } from '../../data/resource';
import { zone } from '../../data/filters';
import { serverNow } from '../../data/api';
import { duration, instant, middle, oneLine } from '../../lib/fmt';
import { levelTone, levelWord } from '../../lib/level';
import { preciseMs } from '../../lib/time';
import { travel } from '../../routes';
import { CopyButton } from '../../ui/Copy';
import { Attributes, Foreign, Section } from '../../ui/Details';
import { Pane } from '../../ui/Pane';
import { Empty, View } from '../../ui/States';
import { Chip, Tag } from '../../ui/Status';
import type { Line } from './event_line';
import { loadSpan, logOf, spanOf, type Journey } from './journey_data';
import css from './RowPane.module.css';

const SETTLE_MS = 90; // holding j passes rows without asking for each

export function RowPane(props: {
  readonly journey: Journey;
  readonly row: number;
  readonly position: string;
  readonly onClose: () => void;
}) {
  const { journey, row } = props;
  const isLog = journey.tree.isLog[row] === 1;
  const log = isLog ? logOf(journey, row) : undefined;
  const title = log ? log.event_name || 'Log' : spanOf(journey, row).name;
  return (
    <Pane
      label={log ? (log.isEvent ? 'Event' : 'Log') : 'Span'}
      position={props.position}
      onClose={props.onClose}
      title={
        <>
          <h2 class="ell foreign" title={title.slice(0, 300)}>
            {oneLine(title, 160)}
          </h2>
        </>
      }
    >
      {log ? <LogDetail log={log} /> : <SpanLoader journey={journey} row={row} />}
    </Pane>
  );
}

function SpanLoader({ journey, row }: { readonly journey: Journey; readonly row: number }) {
  const { span, traceId } = spanOf(journey, row);
  const { tree } = journey;
  const resource = useMemo(() => new Resource<Span | undefined>(), []);
  const key = `${traceId}/${span[0]}`;
  useEffect(() => {
    const timer = setTimeout(
      () => {
        void resource.load(key, (abort) =>
          loadSpan(traceId, span[0], tree.t0 + tree.start[row]!, tree.took[row]!, abort),
        );
      },
      resource.loaded.peek().state === 'idle' ? 0 : SETTLE_MS,
    );
    return () => clearTimeout(timer);
  }, [key]);
  useEffect(() => () => resource.stop(), []);
  return (
    <View of={resource.loaded.value} what="this span" rows={10}>
      {(value) =>
        value === undefined ? (
          <Empty why="no-data" title="This span is in the outline, but not stored any more." />
        ) : (
          <SpanDetail span={value} sinceMs={preciseMs(value.ts) - tree.t0} />
        )
      }
    </View>
  );
}

const text = (value: unknown) => (typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value));

// Events that are exceptions, whatever the language wrote.
function exceptions(span: Span) {
  return span.events
    .filter((e) => e.name === 'exception' || 'exception.type' in e.attrs || 'exception.message' in e.attrs)
    .map((e) => ({
      type: text(e.attrs['exception.type']),
      message: text(e.attrs['exception.message']),
      stack: text(e.attrs['exception.stacktrace']),
    }));
}

export function SpanDetail({ span, sinceMs }: { readonly span: Span; readonly sinceMs?: number }) {
  const thrown = exceptions(span);
  const failed = span.status === 'error' || thrown.length > 0;
  const others = span.events.filter((e) => e.name !== 'exception');
  const dropped = span.dropped_attributes_count + span.dropped_events_count + span.dropped_links_count;
  return (
    <>
      {failed && (
        <section class={css.error} aria-label="Failure">
          <div class="row wrap">
            <Chip tone="bad">{span.status === 'error' ? 'Failed' : 'Exception recorded'}</Chip>
            {thrown[0]?.type && <Tag>{oneLine(thrown[0].type, 60)}</Tag>}
          </div>
          {(span.status_message || thrown[0]?.message) && (
            <p class={css.message}>
              <Foreign text={span.status_message || thrown[0]!.message} />
            </p>
          )}
          {thrown.map((t, i) => (
            <Stack key={i} text={t.stack || (t.message !== span.status_message ? `${t.type}: ${t.message}` : '')} />
          ))}
        </section>
      )}
      <dl class={css.facts}>
        <Fact name="Started">
          {instant(preciseMs(span.ts), zone(), serverNow())}
          {sinceMs !== undefined && <span class="faint"> · {duration(sinceMs)} in</span>}
        </Fact>
        <Fact name="Took">{duration(span.duration_ms)}</Fact>
        <Fact name="Service">
          <span class="foreign">{oneLine(span.service_name, 120) || '—'}</span>
        </Fact>
        <Fact name="Kind">{span.kind}</Fact>
      </dl>
      <Identifiers
        ids={{
          ...span.ids,
          trace_id: span.trace_id,
          span_id: span.span_id,
          ...(span.parent_span_id ? { parent_span_id: span.parent_span_id } : {}),
        }}
      />
      <Section title="Attributes" count={Object.keys(span.attrs).length}>
        <Attributes of={span.attrs} />
      </Section>
      {others.length > 0 && (
        <Section title="Events" count={others.length}>
          <ol class={css.events}>
            {others.map((e, i) => (
              <li key={i}>
                <div class="row">
                  <span class="mono b foreign ell">{oneLine(e.name, 120)}</span>
                  <span class="sp" />
                  <span class="faint small num">+{duration(preciseMs(e.ts) - preciseMs(span.ts))}</span>
                </div>
                {Object.keys(e.attrs).length > 0 && <Attributes of={e.attrs} />}
              </li>
            ))}
          </ol>
        </Section>
      )}
      {span.links.length > 0 && (
        <Section title="Links" count={span.links.length}>
          <ul class={css.events}>
            {span.links.map((l) => (
              <li key={l.trace_id + l.span_id}>
                <a class="link mono" href={travel('journey', { id: l.trace_id, sel: l.span_id })}>
                  {middle(l.trace_id, 22)}
                </a>
                {Object.keys(l.attrs).length > 0 && <Attributes of={l.attrs} />}
              </li>
            ))}
          </ul>
        </Section>
      )}
      <Section title="Resource" count={Object.keys(span.resource).length} open={false}>
        <Attributes of={span.resource} />
      </Section>
      {(span.scope_name !== '' || span.trace_state !== '') && (
        <Section title="Scope" open={false}>
          <Attributes
            of={{
              name: span.scope_name,
              version: span.scope_version,
              ...(span.trace_state ? { trace_state: span.trace_state } : {}),
            }}
          />
        </Section>
      )}
      {dropped > 0 && (
        <p class={`faint small ${css.note}`}>
          The sender dropped {span.dropped_attributes_count} attributes, {span.dropped_events_count} events and{' '}
          {span.dropped_links_count} links of this span at its own limits.
        </p>
      )}
    </>
  );
}

export function LogDetail({
  log,
  onFilter,
}: {
  readonly log: Line;
  readonly onFilter?: ((key: string, value: string) => void) | undefined;
}) {
  const tone = levelTone(log.level);
  const attrs = log.attrs as Record<string, unknown>;
  const stack = text(attrs['exception.stacktrace']) || stackOf(attrs['error']);
  const word = log.isEvent ? (tone === 'bad' ? 'failed' : 'event') : levelWord(log.level);
  return (
    <>
      <section class={tone === 'bad' ? css.error : css.plain} aria-label="Message">
        <div class="row wrap">
          {tone === 'none' ? <Tag>{word}</Tag> : <Chip tone={tone}>{word}</Chip>}
          {log.event_name !== '' && <Tag>{oneLine(log.event_name, 80)}</Tag>}
        </div>
        <p class={`${css.message} ${css.body}`}>
          {log.body === '' ? <span class="faint">empty body</span> : <Foreign text={log.body} />}
        </p>
        {stack !== '' && <Stack text={stack} />}
      </section>
      <dl class={css.facts}>
        <Fact name="At">{instant(preciseMs(log.ts), zone(), serverNow())}</Fact>
        <Fact name="Service">
          <span class="foreign">{oneLine(log.service_name, 120) || '—'}</span>
        </Fact>
        {log.severity_text !== '' && <Fact name="Severity">{oneLine(log.severity_text, 40)}</Fact>}
      </dl>
      <Identifiers
        ids={{
          ...log.ids,
          ...(log.trace_id ? { trace_id: log.trace_id } : {}),
          ...(log.span_id ? { span_id: log.span_id } : {}),
        }}
        sel={log.span_id}
        onFilter={onFilter}
      />
      <Section title="Attributes" count={Object.keys(log.attrs).length}>
        <Attributes of={log.attrs} onFilter={onFilter && ((key, value) => onFilter(`attr.${key}`, value))} />
      </Section>
      {!log.isEvent && (
        <Section title="Resource" count={Object.keys(log.resource).length} open={false}>
          <Attributes of={log.resource} />
        </Section>
      )}
    </>
  );
}

// The stack in an event's error object.
function stackOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'stack' in error ? text(error.stack) : '';
}

// Where a value leads: the trace with the row in it, or the journey under that identifier.
function Identifiers(props: {
  readonly ids: Readonly<Record<string, string | undefined>>;
  readonly sel?: string;
  readonly onFilter?: ((key: string, value: string) => void) | undefined;
}) {
  const ids = Object.fromEntries(Object.entries(props.ids).filter(([, v]) => v));
  if (Object.keys(ids).length === 0) {
    return (
      <Section title="Identifiers">
        <p class="faint small">None: no trace context came with this line.</p>
      </Section>
    );
  }
  const link = (key: string, value: string) => {
    if (key === 'span_id' || key === 'parent_span_id')
      return ids.trace_id ? travel('journey', { id: ids.trace_id, sel: value }) : undefined;
    if (key === 'trace_id') return travel('journey', { id: value, sel: props.sel || undefined });
    return travel('journey', { id: value });
  };
  return (
    <Section title="Identifiers" count={Object.keys(ids).length}>
      <Attributes of={ids} linkOf={link} onFilter={props.onFilter} />
      <CopyButton text={JSON.stringify(ids, undefined, 2)} what="all identifiers" label="Copy all" />
    </Section>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class="num">{children}</dd>
    </div>
  );
}

function Stack({ text }: { readonly text: string }) {
  if (text === '') return null;
  return (
    <div class={css.stackBox}>
      <pre class={css.stack} tabIndex={0} aria-label="Stack">
        <Foreign text={text} />
      </pre>
      <CopyButton text={text} what="stack" />
    </div>
  );
}
