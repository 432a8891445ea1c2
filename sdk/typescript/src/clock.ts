// Time and chance, handed in, so that a test can move the one and fix the other.
export interface Clock {
  // Milliseconds on a clock that never goes back; only differences mean anything.
  now(): number;
  // The wall clock, in milliseconds since 1970.
  wall(): number;
  // Uniform in [0, 1).
  random(): number;
  // Calls `run` once after `ms`; the answer takes that back. A pending call keeps the process alive.
  after(ms: number, run: () => void): () => void;
}

// setTimeout takes at most 2^31 - 1 ms and fires at once beyond it.
const TIMER_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  random: () => Math.random(),
  after(ms, run) {
    const timer = setTimeout(run, Math.min(Math.max(0, ms), TIMER_MS_MAX));
    return () => clearTimeout(timer);
  },
};

// Resolves after `ms`; rejects with the signal's reason when that comes first.
export function delay(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = (): void => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.after(ms, () => {
      signal?.removeEventListener('abort', stop);
      resolve();
    });
    signal?.addEventListener('abort', stop, { once: true });
  });
}
