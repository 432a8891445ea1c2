// What the SDK and a server agree on, whichever server it is: the one in memory, or the one at FETTLE_URL.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { Fettle, Performed, ProblemError } from '../src/index.ts';
import type { RunContext, Worker } from '../src/index.ts';
import { FakeServer } from './fake_server.ts';

const real = process.env['FETTLE_URL'];
const pool = `contract-${randomUUID().slice(0, 8)}`; // nobody else works here
let fake: FakeServer | undefined;
let fettle: Fettle;
let worker: Worker;

const ended = new Map<string, { payload: unknown; attempt: number }>();
const waiting = new Map<string, () => void>();

function end(run: RunContext): void {
  ended.set(run.runId, { payload: run.payload, attempt: run.attempt });
  waiting.get(run.runId)?.();
}

async function endOf(runId: string): Promise<{ payload: unknown; attempt: number }> {
  if (!ended.has(runId)) await new Promise<void>((resolve) => waiting.set(runId, resolve));
  return ended.get(runId) as { payload: unknown; attempt: number };
}

before(async () => {
  if (real === undefined) fake = await FakeServer.start();
  fettle = new Fettle({ url: real ?? fake?.url });
  worker = fettle.worker({
    pool,
    concurrency: 20,
    workflows: {
      plain: (run) => end(run),
      stepped: async (run) => {
        await run.step('one', (step) => step.usage({ tokens: 3, costUsd: 0.01 }));
        run.log('info', 'between', { n: 1 });
        run.progress({ done: 1, total: 2 });
        await run.step('two', () => ({ deep: ['value'] }));
        end(run);
      },
    },
  });
  await worker.start();
});

after(async () => {
  await worker.stop();
  await fettle.close();
  await fake?.stop();
});

test('a run is enqueued, worked on, and its payload arrives as it was', async () => {
  const payload = { text: 'ünï 🚀 \u0000 "quoted"', list: [1, 2.5, null, true], deep: { a: { b: {} } } };
  const { runId, created } = await fettle.enqueue({
    workflow: 'plain',
    pool,
    payload,
    clientId: 'acme',
    platform: 'x',
  });
  assert.equal(created, true);
  assert.deepEqual((await endOf(runId)).payload, payload);
});

test('a thousand runs enqueued at once are each worked on once', async () => {
  const made = await fettle.enqueueMany(
    Array.from({ length: 1_000 }, (_, at) => ({ workflow: 'plain', pool, payload: at })),
  );
  const ids = made.map((one) => (one.ok ? one.runId : assert.fail(one.error)));
  assert.equal(new Set(ids).size, 1_000);
  const ends = await Promise.all(ids.map(endOf));
  assert.deepEqual(
    ends.map((one) => one.payload),
    Array.from({ length: 1_000 }, (_, at) => at),
  );
  assert.ok(ends.every((one) => one.attempt === 1));
});

test('steps, lines, progress and usage of a run are taken', async () => {
  const { runId } = await fettle.enqueue({ workflow: 'stepped', pool });
  await endOf(runId);
  await worker.settled();
});

test(
  'a run that is refused comes back with its problem',
  { skip: real === undefined && 'the one in memory has no limits' },
  async () => {
    const [refused] = await fettle.enqueueMany([{ workflow: 'x'.repeat(100_000), pool }]);
    assert.ok(refused?.ok === false && refused.error instanceof ProblemError);
  },
);

test('an observed run is started, stepped through and ended', async () => {
  const run = await fettle.startRun({ workflow: 'observed', clientId: 'acme' });
  await run.step('one', () => 1);
  await assert.rejects(run.step('two', () => Promise.reject(new Error('no'))));
  await run.fail(new Error('no'));
});

test('a side effect is performed once, and told to whoever repeats it', async () => {
  const effect = {
    action: 'note',
    target: `t-${randomUUID()}`,
    payload: { text: 'hello' },
    clientId: 'acme',
    platform: 'x',
  };
  let performed = 0;
  const perform = (): Performed<{ id: number }> => new Performed({ id: ++performed }, { url: 'https://x.example/1' });
  const first = await fettle.sideEffect(effect, perform);
  const second = await fettle.sideEffect(effect, perform);
  assert.equal(performed, 1);
  assert.deepEqual([first.earlier, second.earlier, second.result], [false, true, { id: 1 }]);
});

test('may I?', async () => {
  const verdict = await fettle.mayI({ clientId: 'acme', platform: 'x', tool: 'crm' });
  assert.deepEqual([verdict.allowed, verdict.source], [true, 'server']);
});

test('records of each kind are taken and named', async () => {
  const runId = 'run_of_somebody';
  const made = await Promise.all([
    fettle.logAgentFailure({ runId, stepId: 4, message: 'failed', agent: 'writer', error: new Error('no') }),
    fettle.logWorkflowFailure({ runId, workflow: 'lead', stepId: 4, message: 'failed', retryAttempt: 1 }),
    fettle.logAuditEvent({
      action: 'job.delete',
      actor: { type: 'user', id: 'u_1' },
      target: { type: 'job', id: 'j_1' },
      result: 'success',
    }),
  ]);
  for (const one of made) assert.ok(one.id.length > 0);
});
