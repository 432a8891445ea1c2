import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Gate, gate, until } from '../test/manual_clock.ts';
import { type Setup, setup } from '../test/setup.ts';
import { FatalError, LeaseLostError, ProblemError, RetryableError, ShutdownError, StoppedError } from './index.ts';
import type { Handler, RunContext, Worker } from './index.ts';
import type { WorkerOptions } from './worker.ts';

interface Bench extends Setup {
  readonly worker: Worker;
  readonly errors: Error[];
}

async function working(
  t: TestContext,
  workflows: Record<string, Handler>,
  options: Partial<WorkerOptions> = {},
): Promise<Bench> {
  const base = await setup(t);
  const errors: Error[] = [];
  const worker = base.fettle.worker({
    workflows,
    runnerId: 'w1',
    pool: 'p',
    onError: (error) => errors.push(error),
    ...options,
  });
  t.after(() => ended(base, worker));
  return { ...base, worker, errors };
}

// Stops a worker whose handlers may hang, without waiting for time to pass.
async function ended({ clock }: Setup, worker: Worker): Promise<void> {
  let done = false;
  const stopping = worker.stop({ graceMs: 0 }).finally(() => {
    done = true;
  });
  await until('the worker has stopped', () => {
    if (!done) clock.advance(500);
    return done;
  });
  await stopping;
}

const terminal = ({ server }: Setup): number =>
  ['complete', 'fail', 'release', 'sleep', 'wait'].flatMap((op) => server.reports(op)).length;

test('a worker registers what it can do, leases, and completes', async (t) => {
  const bench = await working(
    t,
    { lead: (run) => ({ got: run.payload }) },
    { concurrency: 3, name: 'n', version: 'v' },
  );
  const one = bench.server.add('lead', { payload: { a: 1 } });
  await bench.worker.start();
  await until('it completes', () => one.state === 'succeeded');
  assert.deepEqual(one.result, { got: { a: 1 } });
  assert.deepEqual(bench.server.of('/workers')[0]?.body, {
    runner_id: 'w1',
    pool: 'p',
    capacity: 3,
    workflows: ['lead'],
    name: 'n',
    version: 'v',
  });
  const lease = bench.server.of('/work/lease')[0]?.body;
  assert.deepEqual([lease?.['runner_id'], lease?.['max'], lease?.['workflows']], ['w1', 3, ['lead']]);
});

test('no more handlers run at once than the worker was given', async (t) => {
  let running = 0;
  let most = 0;
  const bench = await working(
    t,
    {
      lead: async () => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running--;
      },
    },
    { concurrency: 4 },
  );
  const runs = Array.from({ length: 100 }, () => bench.server.add('lead'));
  await bench.worker.start();
  await until('all have run', () => runs.every((run) => run.state === 'succeeded'));
  assert.equal(most, 4);
  assert.equal(runs.filter((run) => run.attempt === 1).length, 100);
});

test('reports of many runs travel together', async (t) => {
  const bench = await working(t, { lead: () => 'ok' }, { concurrency: 50 });
  const runs = Array.from({ length: 500 }, () => bench.server.add('lead'));
  await bench.worker.start();
  await until('all have run', () => runs.every((run) => run.state === 'succeeded'));
  assert.equal(bench.server.reports('complete').length, 500);
  assert.ok(bench.server.of('/work/report').length < 50, `${bench.server.of('/work/report').length} requests`);
});

test('while reports pile up no new work is taken, and it is taken again when they are through', async (t) => {
  const bench = await working(t, { lead: () => 'ok' }, { concurrency: 10, prefetchMax: 0, reportsPendingMax: 20 });
  const hold = gate();
  bench.server.fail('/work/report', { hold });
  const runs = Array.from({ length: 200 }, () => bench.server.add('lead'));
  await bench.worker.start();
  await until('reports wait', () => bench.server.of('/work/report').length === 1 && bench.worker.running === 0);
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
  const taken = runs.filter((run) => run.attempt > 0).length;
  assert.ok(taken < 200, `${taken} were taken`);
  hold.open();
  await until('all have run', () => runs.every((run) => run.state === 'succeeded'));
});

test('a step that was completed is not run again: its result is remembered', async (t) => {
  const calls: string[] = [];
  const bench = await working(t, {
    lead: async (run) => {
      const parsed = await run.step('parse', () => {
        calls.push('parse');
        return { name: 'Ada' };
      });
      return run.step('send', (step) => {
        calls.push(`send ${parsed.name} ${step.stepId}`);
        if (run.attempt === 1)
          throw new RetryableError('Connection timeout after 5s', { code: 'API_TIMEOUT', retryAfterMs: 40 });
        return 'sent';
      });
    },
  });
  const one = bench.server.add('lead');
  await bench.worker.start();
  await until('it fails', () => one.state === 'failed');
  assert.deepEqual(
    { ...one.error, stack: '' },
    {
      type: 'RetryableError',
      message: 'Connection timeout after 5s',
      code: 'API_TIMEOUT',
      stack: '',
      retryable: true,
      retry_after_ms: 40,
    },
  );
  bench.server.ready(one.id);
  await until('it succeeds', () => one.state === 'succeeded');
  assert.deepEqual(calls, ['parse', 'send Ada 2', 'send Ada 2']);
  const steps = one.reports
    .filter((report) => String(report['op']).startsWith('step_'))
    .map((report) => [report['op'], report['step'], report['name']]);
  assert.deepEqual(steps, [
    ['step_start', 1, 'parse'],
    ['step_complete', 1, 'parse'],
    ['step_start', 2, 'send'],
    ['step_fail', 2, 'send'],
    ['step_start', 2, 'send'],
    ['step_complete', 2, 'send'],
  ]);
});

test('the next step begins only when the one before is on record', async (t) => {
  let second = false;
  const bench = await working(t, {
    lead: async (run) => {
      await run.step('one', () => 1);
      await run.step('two', () => (second = true));
    },
  });
  const hold = gate();
  bench.server.fail('/work/report', { hold });
  bench.server.add('lead');
  await bench.worker.start();
  await until('the first step is reported', () => bench.server.of('/work/report').length === 1);
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(second, false);
  hold.open();
  await until('the second has run', () => second);
});

test('a name used twice is two steps', async (t) => {
  const bench = await working(t, {
    lead: async (run) => [await run.step('fetch', () => 'a'), await run.step('fetch', () => 'b')],
  });
  const one = bench.server.add('lead', {}, [{ name: 'fetch', status: 'completed', result: 'old' }]);
  await bench.worker.start();
  await until('it succeeds', () => one.state === 'succeeded');
  assert.deepEqual(one.result, ['old', 'b']);
});

test('a step may be retried within its attempt, with what it used counted', async (t) => {
  const bench = await working(t, {
    lead: (run) => {
      let tries = 0;
      return run.step(
        'call',
        (step) => {
          step.usage({ tokens: 10, costUsd: 0.5 });
          if (++tries < 3) throw new Error('busy');
          return tries;
        },
        { retry: { retriesMax: 5, baseMs: 100 } },
      );
    },
  });
  const one = bench.server.add('lead');
  await bench.worker.start();
  for (const wait of [50, 100]) {
    await until('it waits', () => bench.clock.pending.includes(wait));
    bench.clock.advance(wait);
  }
  await until('it succeeds', () => one.state === 'succeeded');
  const fails = bench.server.reports('step_fail');
  assert.deepEqual(
    fails.map((report) => [report['will_retry'], report['tokens']]),
    [
      [true, 10],
      [true, 10],
    ],
  );
  assert.equal(bench.server.reports('step_complete')[0]?.['tokens'], 10);
  assert.equal(bench.server.reports('complete')[0]?.['tokens'], undefined);
});

test('a step is retried in place as often and as late as the server says', async (t) => {
  let tries = 0;
  const bench = await working(t, {
    lead: (run) =>
      run.step('call', () => {
        if (++tries < 3) throw new Error('busy');
        return tries;
      }),
  });
  const one = bench.server.add('lead');
  one.stepRetries = 2;
  await bench.worker.start();
  for (let retry = 1; retry <= 2; retry++) {
    await until('it waits', () => tries === retry && bench.clock.pending.includes(70));
    bench.clock.advance(70);
  }
  await until('it succeeds', () => one.state === 'succeeded');
  assert.deepEqual([one.result, one.attempt], [3, 1]);
});

test('a fatal error says that a retry is in vain, and so does a workflow that is not there', async (t) => {
  const bench = await working(t, {
    lead: () => Promise.reject(new FatalError('invalid address', { code: 'INVALID' })),
  });
  const fatal = bench.server.add('lead');
  const unknown = bench.server.add('other');
  await bench.worker.start();
  await until('both fail', () => fatal.state === 'failed' && unknown.state === 'failed');
  assert.deepEqual([fatal.error?.['retryable'], fatal.error?.['code']], [false, 'INVALID']);
  assert.deepEqual([unknown.error?.['retryable'], unknown.error?.['code']], [false, 'unknown_workflow']);
});

test('a result that JSON cannot say fails the run instead of vanishing', async (t) => {
  const bench = await working(t, { lead: () => 1n as never });
  const one = bench.server.add('lead');
  await bench.worker.start();
  await until('it fails', () => one.state === 'failed');
  assert.equal(one.error?.['code'], 'invalid_value');
});

test('held runs are heartbeated in one request, with the progress that was made', async (t) => {
  const hold = gate();
  const bench = await working(
    t,
    {
      lead: async (run) => {
        run.progress({ done: 3, total: 10 });
        await hold.opened;
      },
    },
    { concurrency: 20 },
  );
  for (let at = 0; at < 20; at++) bench.server.add('lead');
  await bench.worker.start();
  await until('all run', () => bench.worker.running === 20);
  bench.clock.advance(3_000);
  await until('they beat', () => bench.server.reports('heartbeat').length === 20);
  assert.equal(bench.server.of('/work/report').length, 1);
  assert.deepEqual(bench.server.reports('heartbeat')[0]?.['progress'], { done: 3, total: 10 });
  await until('they are answered', () => !bench.clock.pending.includes(10_000));
  bench.clock.advance(3_000);
  await until('they beat again', () => bench.server.reports('heartbeat').length === 40);
  assert.equal(bench.server.reports('heartbeat')[20]?.['progress'], undefined);
  hold.open();
  await until('all end', () => bench.server.reports('complete').length === 20);
});

// A handler that waits for its signal and ends with its reason.
const patient: Handler = (run: RunContext) =>
  new Promise((_, reject) => run.signal.addEventListener('abort', () => reject(run.signal.reason), { once: true }));

async function oneRunning(
  t: TestContext,
  handler: Handler = patient,
  before: (bench: Bench) => void = () => {},
): Promise<Bench & { readonly id: string; readonly reason: () => unknown }> {
  let reason: unknown;
  const bench = await working(t, {
    lead: async (run) => {
      try {
        return await handler(run);
      } catch (error) {
        reason = error;
        throw error;
      }
    },
  });
  before(bench);
  const one = bench.server.add('lead');
  await bench.worker.start();
  await until('it runs', () => bench.worker.running === 1 || reason !== undefined);
  return { ...bench, id: one.id, reason: () => reason };
}

test('a cancelled run gets its signal with the next heartbeat, and fails for good', async (t) => {
  const bench = await oneRunning(t);
  const run = bench.server.runs.get(bench.id);
  assert.ok(run);
  run.cancel = true;
  bench.clock.advance(3_000);
  await until('it ends', () => run.state === 'failed');
  assert.deepEqual([run.error?.['code'], run.error?.['retryable']], ['cancelled', false]);
});

test('a kill switch stops the run, which is given back with what it used', async (t) => {
  const bench = await oneRunning(t, (run) => {
    run.usage({ tokens: 5 });
    return patient(run as never);
  });
  const run = bench.server.runs.get(bench.id);
  assert.ok(run);
  run.stop = { id: 'sw_1', reason: 'complaints' };
  bench.clock.advance(3_000);
  await until('it ends', () => run.state === 'released');
  const reason = bench.reason();
  assert.ok(reason instanceof StoppedError && reason.killSwitch.id === 'sw_1');
  assert.deepEqual(
    [bench.server.reports('release')[0]?.['reason'], bench.server.reports('release')[0]?.['tokens']],
    ['stopped', 5],
  );
});

test('a worker whose lease went to another hears so by the fence, and applies nothing', async (t) => {
  const bench = await oneRunning(t);
  bench.server.revoke(bench.id);
  bench.clock.advance(3_000);
  await until('it ends', () => bench.reason() instanceof LeaseLostError);
  await until('its end is kept as late', () => (bench.server.runs.get(bench.id)?.late.length ?? 0) >= 2);
  assert.deepEqual(bench.server.runs.get(bench.id)?.reports, []);
  assert.equal(bench.errors.length, 0);
});

test('a run whose lease is gone is not heartbeated any more, though its handler goes on', async (t) => {
  const hold = gate();
  const bench = await oneRunning(t, async () => hold.opened);
  bench.server.revoke(bench.id);
  bench.clock.advance(3_000);
  await until(
    'it is told',
    () => bench.server.reports('heartbeat').length === 1 && !bench.clock.pending.includes(10_000),
  );
  bench.clock.advance(6_000);
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(bench.server.reports('heartbeat').length, 1);
  hold.open();
});

test('a late answer that says why stops the run for that reason', async (t) => {
  const bench = await oneRunning(t);
  bench.server.revoke(bench.id, { stop: { id: 'sw_2' } });
  bench.clock.advance(3_000);
  await until('it ends', () => bench.reason() !== undefined);
  assert.ok(bench.reason() instanceof StoppedError);
});

test('a side effect reserved under a lease that is gone stops the run', async (t) => {
  const handler: Handler = async (run) => {
    await run.sideEffect({ action: 'publish', target: 't' }, () => assert.fail('nothing is performed')).catch(() => {});
    await run.step('next', () => assert.fail('nothing begins'));
  };
  const late = { status: 409, body: { status: 409, code: 'late', detail: 'expired', cancel: false } };
  const bench = await oneRunning(t, handler, ({ server }) => server.fail('/side-effects/reserve', late));
  await until('it ends', () => bench.reason() !== undefined);
  assert.ok(bench.reason() instanceof LeaseLostError);
});

test('no step begins after the lease is lost', async (t) => {
  let began = false;
  const hold = gate();
  const bench = await oneRunning(t, async (run) => {
    await hold.opened;
    await run.step('one', () => 1).catch(() => {}); // a handler that looks away
    await run.step('two', () => (began = true));
  });
  bench.server.revoke(bench.id);
  hold.open();
  await until('it ends', () => bench.reason() !== undefined);
  assert.ok(bench.reason() instanceof LeaseLostError);
  assert.equal(began, false);
});

test('when no heartbeat gets through, the run stops before its lease ends at the server', async (t) => {
  const bench = await oneRunning(t);
  bench.server.fail('/work/report', ...Array.from({ length: 100 }, () => ({ cut: 'before' as const })));
  let passed = 0;
  await until('it stops', () => {
    if (bench.reason() === undefined) bench.clock.advance(100);
    passed += bench.reason() === undefined ? 100 : 0;
    return bench.reason() !== undefined;
  });
  assert.ok(bench.reason() instanceof LeaseLostError);
  assert.ok(passed >= 9_000 && passed < 10_000, `after ${passed} ms`);
});

test('a server that is away is asked again with growing waits, and the worker goes on', async (t) => {
  const bench = await working(t, { lead: () => 'ok' });
  bench.server.fail('/work/lease', { cut: 'before' }, { status: 503 }, { cut: 'before' }, { cut: 'before' });
  const one = bench.server.add('lead');
  await bench.worker.start();
  for (const wait of [50, 100, 200]) {
    await until(`it waits ${wait} ms`, () => bench.clock.pending.includes(wait));
    bench.clock.advance(wait);
  }
  await until('it succeeds', () => one.state === 'succeeded');
  assert.equal(bench.errors.length, 3);
});

test('a server that does not know the worker any more is told again', async (t) => {
  const bench = await working(t, { lead: () => 'ok' });
  bench.server.fail('/work/lease', { status: 404 });
  const one = bench.server.add('lead');
  await bench.worker.start();
  await until('it waits', () => bench.clock.pending.includes(50));
  bench.clock.advance(50);
  await until('it succeeds', () => one.state === 'succeeded');
  assert.equal(bench.server.of('/workers').length, 2);
});

test('a worker that may not work says so when it starts', async (t) => {
  const bench = await working(t, { lead: () => 'ok' });
  bench.server.fail('/workers', { status: 403 });
  await assert.rejects(bench.worker.start(), ProblemError);
  assert.equal(bench.worker.state, 'new');
});

test('stopping lets what runs finish, gives back what has not begun, and leases no more', async (t) => {
  const hold = gate();
  const begun: string[] = [];
  const bench = await working(
    t,
    {
      quick: () => 'ok',
      slow: async (run) => {
        begun.push(run.runId);
        await hold.opened;
      },
    },
    { concurrency: 1 },
  );
  // Quick runs first, so that the worker holds a reserve.
  const quick = Array.from({ length: 20 }, () => bench.server.add('quick'));
  await bench.worker.start();
  await until('the quick ones are through', () => quick.every((run) => run.state === 'succeeded'));
  const slow = Array.from({ length: 5 }, () => bench.server.add('slow'));
  await until(
    'one runs and some are held',
    () => begun.length === 1 && slow.filter((run) => run.state === 'leased').length > 1,
  );
  const stopping = bench.worker.stop();
  await until('those not begun are back', () => slow.filter((run) => run.state === 'leased').length === 1);
  assert.equal(bench.server.of('/workers/w1/drain').length, 1);
  const leases = bench.server.of('/work/lease').length;
  hold.open();
  await stopping;
  assert.equal(begun.length, 1);
  assert.deepEqual(
    bench.server.of('/workers/w1').map((one) => one.method),
    ['DELETE'],
  );
  assert.equal(slow.filter((run) => run.state === 'succeeded').length, 1);
  assert.equal(bench.server.of('/work/lease').length, leases);
  assert.equal(bench.worker.state, 'stopped');
});

test('what does not finish in its grace is aborted and given back', async (t) => {
  const bench = await oneRunning(t);
  const stopping = bench.worker.stop({ graceMs: 5_000 });
  await until('it waits for the handler', () => bench.clock.pending.includes(5_000));
  bench.clock.advance(5_000);
  await stopping;
  assert.ok(bench.reason() instanceof ShutdownError);
  assert.equal(bench.server.runs.get(bench.id)?.state, 'released');
});

test('a handler that does not heed its signal cannot hold the shutdown up, and is reported once', async (t) => {
  const hold: Gate = gate();
  const bench = await oneRunning(t, async () => hold.opened);
  const stopping = bench.worker.stop({ graceMs: 5_000 });
  await until('it waits for the handler', () => bench.clock.pending.includes(5_000));
  bench.clock.advance(5_000);
  await until('it waits for the handler to heed', () => bench.clock.pending.includes(2_000));
  bench.clock.advance(2_000);
  await stopping;
  hold.open();
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(terminal(bench), 1);
});

test('a run that sleeps leaves the worker, and goes on behind the sleep when its time has come', async (t) => {
  const calls: string[] = [];
  const bench = await working(t, {
    lead: async (run) => {
      calls.push('begin');
      await run.sleep(5_000, 'pause');
      return 'awake';
    },
  });
  const one = bench.server.add('lead');
  await bench.worker.start();
  await until('it sleeps', () => one.state === 'sleeping');
  const { op: _op, run_id: _run, fence: _fence, ...sleep } = bench.server.reports('sleep')[0] ?? {};
  assert.deepEqual(sleep, { step: 1, name: 'sleep:pause', until: '2026-01-01T00:00:05.000Z' });
  await until('the worker is free', () => bench.worker.running === 0);
  one.steps.push({ name: 'sleep:pause', status: 'completed', result: null });
  bench.server.ready(one.id);
  await until('it succeeds', () => one.state === 'succeeded');
  assert.deepEqual([one.result, calls.length], ['awake', 2]);
  assert.equal(bench.server.reports('fail').length, 0);
});

test('a run that waits for an event gets its payload, or nothing when it never came', async (t) => {
  const bench = await working(t, {
    lead: async (run) => [
      (await run.waitFor('paid', { timeoutMs: 1_000 })) ?? null,
      (await run.waitFor('shipped', { key: 'k', name: 'ship' })) === undefined,
    ],
  });
  const one = bench.server.add('lead');
  await bench.worker.start();
  await until('it waits', () => one.state === 'waiting');
  one.steps.push({ name: 'wait:paid', status: 'completed', result: { payload: { sum: 3 } } });
  bench.server.ready(one.id);
  await until('it waits again', () => bench.server.reports('wait').length === 2);
  const { op: _op, run_id: _run, fence: _fence, ...wait } = bench.server.reports('wait')[1] ?? {};
  assert.deepEqual(wait, { step: 2, event: 'shipped', key: 'k', name: 'ship' });
  one.steps.push({ name: 'ship', status: 'completed', result: { expired: true } });
  bench.server.ready(one.id);
  await until('it succeeds', () => one.state === 'succeeded');
  assert.deepEqual(one.result, [{ sum: 3 }, true]);
});

test('side effects, records and questions of a run carry its identifiers', async (t) => {
  const bench = await working(t, {
    lead: async (run) => {
      await run.sideEffect({ action: 'publish', target: 't', payload: 1 }, () => 'done');
      await run.mayI({ tool: 'crm' });
      await run.logAgentFailure({ message: 'm' });
      await run.logAuditEvent({ action: 'a' });
      run.log('info', 'a line', { n: 1 });
    },
  });
  const one = bench.server.add('lead', { client_id: 'acme', platform: 'x', correlation_id: 'c', agent: 'writer' });
  await bench.worker.start();
  await until('it succeeds', () => one.state === 'succeeded');
  const reserve = bench.server.of('/side-effects/reserve')[0]?.body;
  assert.deepEqual(
    [reserve?.['run_id'], reserve?.['fence'], reserve?.['client_id'], reserve?.['platform']],
    [one.id, 1, 'acme', 'x'],
  );
  assert.equal(bench.server.of('/may-i')[0]?.query, 'client_id=acme&platform=x&workflow=lead&tool=crm&agent=writer');
  assert.deepEqual(bench.server.records.get('agent_logs'), [
    { run_id: one.id, client_id: 'acme', correlation_id: 'c', level: 'error', message: 'm', agent: 'writer' },
  ]);
  assert.deepEqual(bench.server.reports('log')[0]?.['payload'], { n: 1 });
});
