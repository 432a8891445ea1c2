// How ingest is doing, asked every two seconds while the tab is visible, and what follows from the asking: whether
// what is on the screen is live. One loop per tab, started by the shell.
import { computed, effect, signal } from '@preact/signals';
import { get, needsToken, Problem, serverNow, type IngestStatus } from './api';

const EVERY_MS = 2000;
const STALE_MS = 60_000;

export const status = signal<IngestStatus | undefined>(undefined);
export const lastAnswerAt = signal(0);
const failing = signal(false);
export const tick = signal(Date.now()); // one clock for all ages on the page

export type Liveness = 'connecting' | 'live' | 'reconnecting' | 'stale';
export const liveness = computed<Liveness>(() => {
  if (lastAnswerAt.value === 0) return failing.value ? 'reconnecting' : 'connecting';
  if (!failing.value) return 'live';
  return tick.value - lastAnswerAt.value > STALE_MS ? 'stale' : 'reconnecting';
});

// Bumped when the connection is back after a failure: pages ask again for what they missed.
export const recovered = signal(0);

// Things worth saying about ingest, worst first. Empty is healthy.
export interface Concern {
  readonly tone: 'bad' | 'warn';
  readonly code: 'engine' | 'dropped' | 'refused' | 'rejected' | 'spool' | 'lag' | 'skew';
  readonly value: number;
  readonly detail: string;
}
const LAG_WARN_MS = 10_000;
const SKEW_WARN_MS = 5000;
const SKEWED_SHOWN_MAX = 5; // the worst: a wrong clock of ours makes all of them look wrong
const SPOOL_WARN_SHARE = 0.8;
export function concerns(s: IngestStatus): readonly Concern[] {
  const out: Concern[] = [];
  const engine = s.engine.state;
  if (!['ready', 'running', 'ok', 'external', 'up'].includes(engine))
    out.push({ tone: 'bad', code: 'engine', value: 0, detail: engine });
  if (s.dropped_recent > 0) out.push({ tone: 'bad', code: 'dropped', value: s.dropped_recent, detail: '' });
  if (s.refused_rows > 0) out.push({ tone: 'bad', code: 'refused', value: s.refused_rows, detail: '' });
  const share = s.spool.bytes_max > 0 ? s.spool.bytes / s.spool.bytes_max : 0;
  if (share > SPOOL_WARN_SHARE) out.push({ tone: 'warn', code: 'spool', value: share, detail: '' });
  if (s.rejected_recent > 0) out.push({ tone: 'warn', code: 'rejected', value: s.rejected_recent, detail: '' });
  if (s.lag_ms > LAG_WARN_MS) out.push({ tone: 'warn', code: 'lag', value: s.lag_ms, detail: '' });
  const ahead = s.skew.filter((one) => one.skew_ms > SKEW_WARN_MS).toSorted((a, b) => b.skew_ms - a.skew_ms);
  for (const { sender, skew_ms } of ahead.slice(0, SKEWED_SHOWN_MAX))
    out.push({ tone: 'warn', code: 'skew', value: skew_ms, detail: sender });
  return out;
}

export function startStatus(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let abort = new AbortController();
  const ask = async () => {
    try {
      status.value = await get('/api/v1/ingest/status', {}, {}, abort.signal);
      lastAnswerAt.value = Date.now();
      if (failing.peek()) recovered.value += 1;
      failing.value = false;
    } catch (error) {
      if (abort.signal.aborted) return;
      failing.value = !(error instanceof Problem && error.kind === 'unauthorized');
    }
    timer = setTimeout(ask, EVERY_MS);
  };
  const restart = () => {
    clearTimeout(timer);
    abort.abort();
    if (document.hidden || needsToken.peek()) return;
    abort = new AbortController();
    void ask();
  };
  document.addEventListener('visibilitychange', restart);
  // A stranger is refused every time: nothing is asked until somebody has signed in.
  const dispose = effect(() => {
    void needsToken.value;
    restart();
  });
  const clock = setInterval(() => {
    tick.value = serverNow();
  }, 1000);
  return () => {
    dispose();
    document.removeEventListener('visibilitychange', restart);
    clearTimeout(timer);
    clearInterval(clock);
    abort.abort();
  };
}
