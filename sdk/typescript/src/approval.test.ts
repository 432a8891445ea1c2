import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { gate, until } from '../test/manual_clock.ts';
import { type Setup, setup } from '../test/setup.ts';
import type { Handler, Json, RunContext } from './index.ts';

// A worker with one workflow, stopped with the test.
async function working(t: TestContext, lead: Handler): Promise<Setup> {
  const bench = await setup(t);
  const worker = bench.fettle.worker({ workflows: { lead }, onError: () => {} });
  t.after(async () => {
    const stopping = worker.stop({ graceMs: 0 });
    await until('the worker has stopped', () => {
      bench.clock.advance(500);
      return worker.state === 'stopped';
    });
    await stopping;
  });
  await worker.start();
  return bench;
}

const STEP = 'approval:publish';
const ask = async (run: RunContext): Promise<Json> => ({ ...(await run.approval('publish', { title: 'Publish?' })) });

test('a question ends the attempt, and the next one has the decision without asking again', async (t) => {
  const bench = await working(t, async (run) => {
    run.log('info', 'about to ask');
    const decision = await run.approval('publish', {
      title: 'Publish?',
      role: 'manager',
      details: { post: 7 },
      note: 'before noon',
      timeoutMs: 60_000,
    });
    return { ...decision };
  });
  const one = bench.server.add('lead');
  await until('it waits', () => one.state === 'waiting');
  assert.deepEqual(bench.server.of('/approvals')[0]?.body, {
    run_id: one.id,
    fence: 1,
    step: STEP,
    title: 'Publish?',
    role: 'manager',
    details: { post: 7, note: 'before noon' },
    expires_at: '2026-01-01T00:01:00.000Z',
  });
  bench.server.decide(one.id, STEP, { decision: 'approved', by: 'maya', note: null, edited: { post: 8 } });
  await until('it succeeds', () => one.state === 'succeeded');
  assert.deepEqual(one.result, { decision: 'approved', decidedBy: 'maya', edited: { post: 8 } });
  assert.equal(bench.server.of('/approvals').length, 1);
  assert.deepEqual(
    one.reports.map((report) => report['op']),
    ['log', 'heartbeat', 'log', 'complete'],
  );
  assert.deepEqual(one.late, []);
});

test('a rejection and an expired question are decisions, too', async (t) => {
  const bench = await working(t, ask);
  for (const result of [{ decision: 'rejected', by: 'maya', note: 'no' }, { decision: 'expired' }]) {
    const one = bench.server.add('lead');
    await until('it waits', () => one.state === 'waiting');
    bench.server.decide(one.id, STEP, result);
    await until('it succeeds', () => one.state === 'succeeded');
    const { by, ...rest } = result as { decision: string; by?: string };
    assert.deepEqual(one.result, by === undefined ? rest : { ...rest, decidedBy: by });
  }
});

test('a question whose answer was lost is the same question when it is repeated', async (t) => {
  const bench = await working(t, ask);
  bench.server.fail('/approvals', { cut: 'after' });
  const one = bench.server.add('lead');
  await until('it is repeated', () => {
    bench.clock.advance(100);
    return bench.server.of('/approvals').length === 2;
  });
  const [first, second] = bench.server.of('/approvals');
  assert.equal(first?.headers['idempotency-key'], second?.headers['idempotency-key']);
  bench.server.decide(one.id, STEP, { decision: 'approved' });
  await until('it succeeds', () => one.state === 'succeeded');
  assert.deepEqual(one.late, []);
});

test('a question that the server refuses fails the run', async (t) => {
  const bench = await working(t, ask);
  bench.server.fail('/approvals', { status: 400 });
  const one = bench.server.add('lead');
  await until('it fails', () => one.state === 'failed');
  assert.deepEqual([one.error?.['status'], one.error?.['retryable']], [400, false]);
});

test('a run whose lease is gone asks nobody', async (t) => {
  const reached = gate();
  const lost = gate();
  let reason: unknown;
  const bench = await working(t, async (run) => {
    reached.open();
    await lost.opened;
    await ask(run).finally(() => {
      reason = (run.signal.reason as { code: string }).code;
    });
  });
  const one = bench.server.add('lead');
  await reached.opened;
  bench.server.revoke(one.id, { cancel: true });
  lost.open();
  await until('it stops', () => reason !== undefined);
  assert.equal(reason, 'cancelled');
  assert.equal(bench.server.of('/approvals').length, 0);
});

test('a lease that is lost between the last report and the question stops the run with the reason', async (t) => {
  let reason: unknown;
  const bench = await working(t, async (run) => {
    await ask(run).finally(() => {
      reason = (run.signal.reason as { code: string }).code;
    });
  });
  const hold = gate();
  bench.server.fail('/work/report', { hold });
  const one = bench.server.add('lead');
  await until('it has reported', () => one.reports.length === 1);
  bench.server.revoke(one.id);
  hold.open();
  await until('it stops', () => reason !== undefined);
  assert.equal(reason, 'lease_lost');
  assert.equal(bench.server.of('/approvals').length, 1);
});

test('no heartbeat follows a question: the lease ends with it', async (t) => {
  const bench = await working(t, ask);
  const hold = gate();
  bench.server.fail('/approvals', { hold });
  const one = bench.server.add('lead');
  await until('it waits', () => one.state === 'waiting');
  bench.clock.advance(3_000);
  hold.open();
  bench.server.decide(one.id, STEP, { decision: 'approved' });
  await until('it succeeds', () => one.state === 'succeeded');
  assert.equal(bench.server.reports('heartbeat').length, 1);
  assert.deepEqual(one.late, []);
});

test('what was used outside of steps is counted before the question ends the attempt', async (t) => {
  const bench = await working(t, async (run) => {
    run.usage({ tokens: 7, costUsd: 0.5 });
    return ask(run);
  });
  const one = bench.server.add('lead');
  await until('it waits', () => one.state === 'waiting');
  const { op, name, tokens, cost_usd } = one.reports[0] ?? {};
  assert.deepEqual([op, name, tokens, cost_usd], ['step_complete', `before ${STEP}`, 7, 0.5]);
});

test('questions of one name are told apart by the order of the calls', async (t) => {
  const bench = await working(t, async (run) => {
    await ask(run);
    await ask(run);
  });
  const one = bench.server.add('lead');
  for (const step of [STEP, `${STEP}#2`]) {
    await until('it waits', () => one.state === 'waiting');
    assert.equal(bench.server.of('/approvals').at(-1)?.body['step'], step);
    bench.server.decide(one.id, step, { decision: 'approved' });
  }
  await until('it succeeds', () => one.state === 'succeeded');
});
