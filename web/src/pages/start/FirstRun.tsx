// How to send telemetry here, and a light that goes on with the first span. The same page serves a workspace that has
// data, as a reminder of the address.
import { useEffect, useState } from 'preact/hooks';
import { get, prefix, token } from '../../data/api';
import { count, plural } from '../../lib/fmt';
import { travel } from '../../routes';
import { Segments } from '../../ui/Button';
import { CopyButton } from '../../ui/Copy';
import { Status } from '../../ui/Status';
import { SNIPPETS, type Language } from './snippets';
import css from './FirstRun.module.css';

const EVERY_MS = 1000;

interface Arrived {
  readonly spans: number;
  readonly logs: number;
  readonly points: number;
  readonly senders: readonly string[];
  readonly traceId: string;
}

export default function FirstRun() {
  return <FirstRunBody />;
}

export function FirstRunBody() {
  const [language, setLanguage] = useState<Language>('node');
  const endpoint = `${window.location.origin}${prefix()}`;
  const withToken = token.value !== '';
  const snippet = SNIPPETS.find((s) => s.value === language)!.text(endpoint, withToken);
  return (
    <div class={css.page}>
      <h1>Send telemetry</h1>
      <p class="dim">
        Fettle takes OpenTelemetry as it is: traces, logs and metrics over OTLP. Point a program here; nothing else is
        needed.
      </p>
      <section class={`card ${css.card}`} aria-label="Endpoint">
        <div class={css.endpoint}>
          <div>
            <h2>Endpoint</h2>
            <p class="small dim">OTLP over HTTP, protobuf or JSON, with gzip or zstd if you like.</p>
          </div>
          <span class="sp" />
          <code class="mono">{endpoint}</code>
          <CopyButton text={endpoint} what="endpoint" />
        </div>
      </section>
      <section class={`card ${css.card}`} aria-label="Snippet">
        <header class={css.head}>
          <h2>In your program</h2>
          <span class="sp" />
          <div class={css.languages}>
            <Segments label="Language" name="language" choices={SNIPPETS} value={language} onChange={setLanguage} />
          </div>
        </header>
        <div class={css.code}>
          <pre class="mono" tabIndex={0} aria-label="Code to copy">
            {snippet}
          </pre>
          <CopyButton text={snippet} what="snippet" />
        </div>
        {withToken && (
          <p class={`small dim ${css.hint}`}>Put your own token where it says FETTLE_TOKEN; it names the workspace.</p>
        )}
      </section>
      <Light />
    </div>
  );
}

function Light() {
  const [arrived, setArrived] = useState<Arrived | undefined>();
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const ask = async () => {
      try {
        const { senders } = await get('/api/v1/ingest/balance', {}, {}, abort.signal);
        const of = (signal: string) =>
          senders.filter((s) => s.signal.startsWith(signal)).reduce((n, s) => n + s.received, 0);
        const spans = of('trace') + of('span');
        let traceId = '';
        if (spans > 0) traceId = (await get('/api/v1/spans', {}, { limit: 1 }, abort.signal)).spans[0]?.trace_id ?? '';
        setArrived({
          spans,
          logs: of('log'),
          points: of('metric') + of('point'),
          senders: [...new Set(senders.map((s) => s.sender))],
          traceId,
        });
        setFailed(false);
      } catch {
        if (abort.signal.aborted) return;
        setFailed(true);
      }
      timer = setTimeout(ask, EVERY_MS);
    };
    void ask();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, []);
  const any = arrived !== undefined && arrived.spans + arrived.logs + arrived.points > 0;
  return (
    <section class={`card ${css.light}`} aria-label="Arrival">
      <div role="status" class="row wrap">
        {failed ? (
          <Status tone="warn">The server does not answer</Status>
        ) : arrived === undefined ? (
          <Status tone="mute">Looking</Status>
        ) : arrived.spans > 0 ? (
          <Status tone="ok">First span received</Status>
        ) : any ? (
          <Status tone="run">Receiving, no span yet</Status>
        ) : (
          <Status tone="mute">Waiting for the first span</Status>
        )}
        {any && (
          <span class="dim num">
            {plural(arrived.spans, 'span')}, {plural(arrived.logs, 'log')}, {count(arrived.points)} metric points from{' '}
            {plural(arrived.senders.length, 'sender')}
          </span>
        )}
        <span class="sp" />
        {arrived !== undefined && arrived.traceId !== '' && (
          <a class="link b" href={travel('journey', { id: arrived.traceId })}>
            Open the latest journey
          </a>
        )}
      </div>
    </section>
  );
}
