import { concerns, lastAnswerAt, liveness, status, type Concern } from '../data/status';
import { bytes, clock, count, duration, percent, plural, rate } from '../lib/fmt';
import { zone } from '../data/filters';
import { Popover } from '../ui/Popover';
import { Glyph, Status } from '../ui/Status';
import { overlay } from './overlay';
import { Kbd } from '../ui/Button';
import type { IngestStatus } from '../data/api';
import css from './StatusLine.module.css';

function sentence(c: Concern): string {
  switch (c.code) {
    case 'engine':
      return `The store is ${c.detail || 'not ready'}. Telemetry waits in the spool, nothing is lost.`;
    case 'dropped':
      return `${plural(c.value, 'request')} turned away for want of room in the last five minutes. Senders were asked to come back.`;
    case 'refused':
      return `${plural(c.value, 'row')} set aside because the store will never take them.`;
    case 'rejected':
      return `${plural(c.value, 'record')} from senders rejected in the last five minutes.`;
    case 'spool':
      return `The spool is ${percent(c.value)} full. Senders will be asked to wait when it is full.`;
    case 'lag':
      return `What you see is ${duration(c.value)} behind what arrives.`;
    case 'skew':
      return `The clock of ${c.detail} is ${duration(c.value)} ahead of the server's.`;
  }
}

function word(c: Concern): string {
  switch (c.code) {
    case 'engine':
      return 'Store not ready';
    case 'dropped':
      return `${count(c.value)} turned away`;
    case 'refused':
      return `${plural(c.value, 'row')} set aside`;
    case 'rejected':
      return `${count(c.value)} rejected`;
    case 'spool':
      return `Spool ${percent(c.value)} full`;
    case 'lag':
      return `${duration(c.value)} behind`;
    case 'skew':
      return 'Clock skew';
  }
}

// One line about what comes in: how far behind, how fast, how much waits, and whether anything was lost.
export function StatusLine() {
  const s = status.value;
  if (!s) {
    return (
      <footer class={css.line} aria-label="Ingest">
        <span class="faint">
          {liveness.value === 'reconnecting' ? 'The server does not answer.' : 'Asking how ingest is doing…'}
        </span>
      </footer>
    );
  }
  const all = concerns(s);
  const old = liveness.value !== 'live';
  return (
    <footer class={`${css.line} ${old ? css.old : ''}`} aria-label="Ingest">
      <Popover
        label="Ingest details"
        up
        buttonClass={css.button!}
        button={<Summary s={s} worst={all[0]} more={all.length - 1} />}
      >
        {() => <Detail s={s} all={all} />}
      </Popover>
      <span class="sp" />
      <button type="button" class={`${css.help} keys`} onClick={() => (overlay.value = 'help')}>
        <Kbd>?</Kbd> keys
      </button>
    </footer>
  );
}

function Summary({
  s,
  worst,
  more,
}: {
  readonly s: IngestStatus;
  readonly worst: Concern | undefined;
  readonly more: number;
}) {
  return (
    <>
      <span class="sr">Ingest details: </span>
      {worst ? (
        <Status tone={worst.tone}>
          {word(worst)}
          {more > 0 ? ` and ${more} more` : ''}
        </Status>
      ) : (
        <span class={css.quiet}>Ingest</span>
      )}
      <span class="num">{duration(s.lag_ms)} behind</span>
      <span class={`num ${css.rates}`}>{rate(s.rates.spans_per_second)} spans/s</span>
      <span class={`num ${css.rates}`}>{rate(s.rates.logs_per_second)} logs/s</span>
      <span class={`num ${css.wide}`}>{rate(s.rates.points_per_second)} points/s</span>
      <span class={`num ${css.wide}`}>spool {bytes(s.spool.bytes)}</span>
      <span class={`num ${css.wide}`}>{count(s.dropped_recent)} turned away</span>
    </>
  );
}

function Detail({ s, all }: { readonly s: IngestStatus; readonly all: readonly Concern[] }) {
  const rows: readonly (readonly [string, string])[] = [
    ['Behind', duration(s.lag_ms)],
    ['Readable up to', s.readable_watermark_ts ? clock(Date.parse(s.readable_watermark_ts), zone()) : '—'],
    ['Spans', `${rate(s.rates.spans_per_second)} per second`],
    ['Logs', `${rate(s.rates.logs_per_second)} per second`],
    ['Metric points', `${rate(s.rates.points_per_second)} per second`],
    ['Spool', `${bytes(s.spool.bytes)} of ${bytes(s.spool.bytes_max)}`],
    ['Oldest waiting', s.spool.bytes > 0 ? duration(s.spool.oldest_age_ms) : '—'],
    ['Rejected, 5 min', plural(s.rejected_recent, 'record')],
    ['Turned away, 5 min', plural(s.dropped_recent, 'request')],
    ['Set aside', plural(s.refused_rows, 'row')],
    ['Store', `${s.engine.state}${s.engine.restarts > 0 ? `, restarted ${s.engine.restarts} ×` : ''}`],
  ];
  return (
    <div class={css.detail} data-first tabIndex={-1}>
      {all.map((c) => (
        <p key={c.code + c.detail} class={css.concern}>
          <Glyph tone={c.tone} />
          <span>{sentence(c)}</span>
        </p>
      ))}
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd class="num">{value}</dd>
          </div>
        ))}
      </dl>
      <p class="faint small">As of {clock(lastAnswerAt.value, zone())}.</p>
    </div>
  );
}
