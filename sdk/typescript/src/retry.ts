// Full-jitter retry, bounded by tries and by elapsed time.
import { type Clock, delay } from './clock.ts';
import { isRetryable, retryAfterOf } from './errors.ts';

export interface RetryPolicy {
  readonly retriesMax: number; // after the first try
  readonly baseMs: number;
  readonly factor: number;
  readonly capMs: number;
  // From the first try to the start of the last one.
  readonly elapsedMaxMs: number;
}

// For calls to the Fettle server, which is back within seconds of a restart.
export const CALL_RETRY: RetryPolicy = { retriesMax: 20, baseMs: 100, factor: 2, capMs: 5_000, elapsedMaxMs: 30_000 };

// Uniform in [0, min(cap, base · factor^retry)), retry counted from 0.
export function fullJitterMs(policy: RetryPolicy, retry: number, random: number): number {
  return random * Math.min(policy.capMs, policy.baseMs * policy.factor ** retry); // Infinity is capped as well
}

// Runs `body` until it succeeds, fails for good, or the policy is used up; the last error is thrown as it came.
export async function retrying<T>(
  clock: Clock,
  policy: RetryPolicy,
  body: (retry: number) => Promise<T>,
  options: { signal?: AbortSignal | undefined; may?: (error: unknown) => boolean } = {},
): Promise<T> {
  const begin = clock.now();
  const may = options.may ?? isRetryable;
  for (let retry = 0; ; retry++) {
    try {
      return await body(retry);
    } catch (error) {
      if (options.signal?.aborted || retry >= policy.retriesMax || !may(error)) throw error;
      const asked = retryAfterOf(error, clock.wall()) ?? 0;
      const wait = Math.max(asked, fullJitterMs(policy, retry, clock.random()));
      if (clock.now() - begin + wait > policy.elapsedMaxMs) throw error;
      await delay(clock, wait, options.signal);
    }
  }
}
