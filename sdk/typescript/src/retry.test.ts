import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, until } from '../test/manual_clock.ts';
import { FatalError, RetryableError } from './errors.ts';
import { type RetryPolicy, fullJitterMs, retrying } from './retry.ts';

const POLICY: RetryPolicy = { retriesMax: 3, baseMs: 100, factor: 2, capMs: 300, elapsedMaxMs: 1_000 };

// Runs a body that always fails, and gives the waits between its tries.
async function waits(policy: RetryPolicy, error: Error, chance = 0.999_999): Promise<number[]> {
  const clock = new ManualClock();
  clock.chances.push(...Array.from({ length: 50 }, () => chance));
  const between: number[] = [];
  let done = false;
  const outcome = retrying(clock, policy, () => Promise.reject(error)).finally(() => {
    done = true;
  });
  outcome.catch(() => {});
  for (;;) {
    await until('it waits or ends', () => done || clock.pending.length > 0);
    const next = clock.pending[0];
    if (done || next === undefined) break;
    between.push(Math.round(next));
    clock.advance(next);
  }
  await assert.rejects(outcome, error);
  return between;
}

test('waits double up to the cap, and end with the retries', async () => {
  assert.deepEqual(await waits(POLICY, new Error('x')), [100, 200, 300]);
});

test('a wait is uniform between nothing and its bound', () => {
  assert.equal(fullJitterMs(POLICY, 0, 0), 0);
  assert.equal(fullJitterMs(POLICY, 1, 0.5), 100);
  assert.equal(fullJitterMs({ ...POLICY, capMs: 1e9 }, 5_000, 0.5), 5e8);
});

test('the other side may ask for a longer wait, never for a shorter one', async () => {
  assert.deepEqual(await waits(POLICY, new RetryableError('x', { retryAfterMs: 250 })), [250, 250, 300]);
});

test('no retry begins after the elapsed bound', async () => {
  assert.deepEqual(await waits({ ...POLICY, elapsedMaxMs: 350 }, new Error('x')), [100, 200]);
  assert.deepEqual(await waits(POLICY, new RetryableError('x', { retryAfterMs: 2_000 })), []);
});

test('what cannot pass is not tried again', async () => {
  assert.deepEqual(await waits(POLICY, new FatalError('x')), []);
});

test('an abort ends the wait', async () => {
  const clock = new ManualClock();
  const abort = new AbortController();
  const outcome = retrying(clock, POLICY, () => Promise.reject(new Error('x')), { signal: abort.signal });
  await until('it waits', () => clock.pending.length > 0);
  abort.abort(new Error('enough'));
  await assert.rejects(outcome, /enough/);
  assert.equal(clock.pending.length, 0);
});
