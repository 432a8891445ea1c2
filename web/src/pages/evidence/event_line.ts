// Domain events (a run's states, its steps, decisions, audits) as lines of a journey, beside the logs.
import type { DomainEvent, Log } from '../../data/api';

// A line on the timeline: a log record, or an event of Fettle's own told in the same shape.
export interface Line extends Log {
  readonly isEvent?: true;
}

const BAD_NEWS = /fail|dead|lost|expired|revoked|blocked|stalled|rejected|unverified/;

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

// What stands after the name: the step, the action or the tool, then why.
function particulars({ ids, data }: DomainEvent): string {
  const error = data['error'];
  const why =
    (typeof error === 'object' && error !== null && 'message' in error && textOf(error.message)) ||
    textOf(error) ||
    textOf(data['reason']).replaceAll('_', ' ');
  const what = textOf(data['action']) || ids.step_id || '';
  return `${what === '' ? '' : ` ${what}`}${why === '' ? '' : `: ${why}`}`;
}

export function eventLine(event: DomainEvent): Line {
  const bad = BAD_NEWS.test(event.name);
  return {
    isEvent: true,
    ts: event.ts,
    observed_ts: event.ts,
    severity_number: bad ? 17 : 9,
    severity_text: '',
    level: bad ? 'error' : 'info',
    body: `${event.name}${particulars(event)}`,
    event_name: event.name,
    trace_id: event.trace_id,
    span_id: '',
    service_name: 'fettle',
    attrs: event.data as Log['attrs'],
    resource: {},
    ids: event.ids,
    scope_name: '',
    flags: 0,
  };
}

// How the one run of a journey ended; undefined while it has not, and where there are several.
export type RunEnd = 'succeeded' | 'dead letter' | 'failed' | 'cancelled' | 'discarded';
const ENDS: Readonly<Record<string, RunEnd>> = {
  'run.succeeded': 'succeeded',
  'run.dead_lettered': 'dead letter',
  'run.failed': 'failed',
  'run.cancelled': 'cancelled',
  'run.discarded': 'discarded',
};
export function runEnd(lines: readonly Line[]): RunEnd | undefined {
  const told = lines.filter((line) => line.isEvent && line.event_name.startsWith('run.'));
  if (new Set(told.map((line) => line.ids.run_id)).size !== 1) return undefined;
  return ENDS[told.at(-1)!.event_name];
}
