import { useEffect, useMemo } from 'preact/hooks';
import { get, serverNow, token, type Span } from '../../data/api';
import { Resource } from '../../data/resource';
import { recent } from '../../data/prefs';
import { recovered, tick } from '../../data/status';
import { zone } from '../../data/filters';
import { neverReceived } from '../../data/first_data';
import { age, duration, instant, oneLine } from '../../lib/fmt';
import { ms } from '../../lib/time';
import { go, travel } from '../../routes';
import { Empty, View } from '../../ui/States';
import { Button } from '../../ui/Button';
import { Icon } from '../../ui/Icon';
import { Status } from '../../ui/Status';
import { FirstRunBody } from '../start/FirstRun';
import css from './Evidence.module.css';

interface Lately {
  readonly failed: readonly Span[];
  readonly first: boolean; // nothing was ever received
}

// Before an identifier is given: a field for it, what was looked up before, and what failed lately.
export function JourneyStart() {
  const resource = useMemo(() => new Resource<Lately>(), []);
  useEffect(() => {
    void resource.load('lately', async (abort) => {
      const failed = await get('/api/v1/spans', {}, { status: 'error', from: '-1h', limit: 200 }, abort);
      return { failed: causes(failed.spans), first: failed.spans.length === 0 && (await neverReceived(abort)) };
    });
    return () => resource.stop();
  }, [recovered.value, token.value]);
  const loaded = resource.loaded.value;
  if (loaded.state === 'ready' && loaded.value.first) return <FirstRunBody />;
  return (
    <div class={css.start}>
      <h1>Journey</h1>
      <p class="dim">Paste any identifier: trace, span, request, correlation, run, job, episode, client or ticket.</p>
      <form
        class={css.bigFind}
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          const id = (event.currentTarget.elements.namedItem('id') as HTMLInputElement).value.trim();
          if (id !== '') go(travel('journey', { id }));
        }}
      >
        <Icon name="search" />
        <label class="sr" for="journey-id">
          Identifier
        </label>
        <input
          id="journey-id"
          name="id"
          placeholder="4bf92f3577b34da6a3ce929d0e0e4736, req_abc123, T-4821…"
          autocomplete="off"
          spellcheck={false}
        />
        <Button look="primary" small type="submit">
          Open
        </Button>
      </form>
      {recent.value.length > 0 && (
        <section class={css.block} aria-label="Looked up before">
          <h2>Looked up before</h2>
          <ul class={css.recent}>
            {recent.value.map((id) => (
              <li key={id}>
                <a class="mono link ell foreign" href={travel('journey', { id })}>
                  {oneLine(id, 60)}
                </a>
              </li>
            ))}
          </ul>
        </section>
      )}
      <section class={`card ${css.block}`} aria-label="Failed in the last hour">
        <header class={css.cardHead}>
          <h2>Failed in the last hour</h2>
          <span class="sp" />
          <a class="link small" href={travel('traces', { status: 'error' })}>
            All failed spans
          </a>
        </header>
        <View of={loaded} what="failures of the last hour" rows={5}>
          {(value) =>
            value.failed.length === 0 ? (
              <Empty why="empty" title="Nothing failed in the last hour." />
            ) : (
              <ul class={css.failed}>
                {value.failed.map((span) => (
                  <li key={span.trace_id + span.span_id}>
                    <a href={travel('journey', { id: span.trace_id, sel: span.span_id })}>
                      <Status tone="bad">failed</Status>
                      <span class="mono ell foreign">{oneLine(span.name, 120)}</span>
                      <span class="dim ell foreign">{oneLine(span.status_message || span.service_name, 200)}</span>
                      <span class="num dim">{duration(span.duration_ms)}</span>
                      <span class="num faint" title={instant(ms(span.ts), zone(), serverNow())}>
                        {age(tick.value - ms(span.ts))}
                      </span>
                    </a>
                  </li>
                ))}
              </ul>
            )
          }
        </View>
      </section>
    </div>
  );
}

// One line per trace: the failed span that started last is nearest to the cause.
function causes(spans: readonly Span[]): readonly Span[] {
  const byTrace = new Map<string, Span>();
  for (const span of spans) {
    const before = byTrace.get(span.trace_id);
    if (!before || span.ts > before.ts) byTrace.set(span.trace_id, span);
  }
  return [...byTrace.values()].sort((a, b) => (a.ts < b.ts ? 1 : -1)).slice(0, 10);
}
