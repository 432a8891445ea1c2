import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gate, until } from '../test/manual_clock.ts';
import { setup } from '../test/setup.ts';
import { Fettle, FettleError, InvalidValueError, ProblemError, UnreachableError } from './index.ts';

test('runs enqueued close together travel in one request over one connection', async (t) => {
  const { server, fettle } = await setup(t);
  const made = await Promise.all(
    Array.from({ length: 50 }, (_, at) => fettle.enqueue({ workflow: 'lead', payload: { at } })),
  );
  assert.equal(server.of('/runs').length, 1);
  assert.equal(server.connections, 1);
  assert.equal(new Set(made.map((run) => run.runId)).size, 50);
  assert.ok(made.every((run) => run.created && run.state === 'queued'));
});

test('a run says on the wire what was asked, and nothing else', async (t) => {
  const { server, fettle } = await setup(t);
  await fettle.enqueue({
    workflow: 'lead',
    payload: { a: 1 },
    clientId: 'acme',
    platform: 'x',
    lane: 'publishing',
    agent: 'writer',
    model: 'm',
    pool: 'p',
    priority: 0,
    runAt: new Date(0),
    maxRetries: 2,
    retry: {
      baseMs: 10,
      capMs: 20,
    },
    timeoutMs: 5,
    concurrencyKey: 'k',
    idempotencyKey: 'i',
    correlationId: 'c',
    jobId: 'j',
    requestId: 'r',
    trigger: {
      source: 'mail',
      eventKey: 'e',
    },
  });
  assert.deepEqual(server.of('/runs')[0]?.body, {
    runs: [
      {
        workflow: 'lead',
        payload: { a: 1 },
        client_id: 'acme',
        platform: 'x',
        lane: 'publishing',
        agent: 'writer',
        model: 'm',
        pool: 'p',
        priority: 0,
        run_at: '1970-01-01T00:00:00.000Z',
        max_retries: 2,
        retry: {
          base_ms: 10,
          cap_ms: 20,
        },
        timeout_ms: 5,
        concurrency_key: 'k',
        idempotency_key: 'i',
        correlation_id: 'c',
        job_id: 'j',
        request_id: 'r',
        trigger: {
          source: 'mail',
          event_key: 'e',
        },
      },
    ],
  });
  await fettle.enqueue({ workflow: 'lead' });
  assert.deepEqual(server.of('/runs')[1]?.body, { runs: [{ workflow: 'lead' }] });
});

test('a refused run fails alone, with the problem of the server', async (t) => {
  const { fettle } = await setup(t);
  const answers = await Promise.allSettled(
    ['lead', 'forbidden', 'lead'].map((workflow) => fettle.enqueue({ workflow })),
  );
  assert.deepEqual(
    answers.map((one) => one.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  const { reason } = answers[1] as PromiseRejectedResult;
  assert.ok(reason instanceof ProblemError && reason.status === 403 && reason.code === 'forbidden');
});

test('a payload that JSON cannot say fails its own caller, unsent', async (t) => {
  const { server, fettle } = await setup(t);
  await assert.rejects(fettle.enqueue({ workflow: 'lead', payload: { big: 1n } as never }), InvalidValueError);
  const many = await fettle.enqueueMany([
    { workflow: 'lead' },
    { workflow: '' },
    { workflow: 'forbidden' },
    { workflow: 'lead' },
  ]);
  assert.deepEqual(
    many.map((one) => one.ok),
    [true, false, false, true],
  );
  assert.equal(server.runs.size, 2);
});

test('many runs travel in few requests, and are answered in their order', async (t) => {
  const { server, fettle } = await setup(t);
  const many = await fettle.enqueueMany(Array.from({ length: 2_500 }, (_, at) => ({ workflow: 'lead', payload: at })));
  const sizes = server.of('/runs').map((one) => (one.body['runs'] as object[]).length);
  assert.deepEqual(
    sizes,
    Array.from({ length: 10 }, () => 250),
  );
  for (const [at, one] of many.entries()) assert.equal(server.runs.get(one.ok ? one.runId : '')?.run['payload'], at);
});

test('a call cut before its answer is sent again under the same key, and takes effect once', async (t) => {
  const { server, clock, fettle } = await setup(t);
  server.fail('/runs', { cut: 'after' }, { cut: 'before' });
  const call = fettle.enqueue({ workflow: 'lead' });
  for (let retry = 1; retry <= 2; retry++) {
    await until('it waits', () => server.of('/runs').length === retry && clock.pending.some((ms) => ms <= 200));
    clock.advance(200);
  }
  assert.equal((await call).runId, 'run_1');
  const keys = server.of('/runs').map((one) => one.headers['idempotency-key']);
  assert.equal(keys.length, 3);
  assert.equal(new Set(keys).size, 1);
  assert.match(String(keys[0]), /^"[0-9a-f-]{36}"$/);
  assert.equal(server.runs.size, 1);
});

test('a kept connection that the server has closed meanwhile costs no wait', async (t) => {
  const { server, clock, fettle } = await setup(t);
  await fettle.enqueue({ workflow: 'lead' });
  server.fail('/runs', { cut: 'before' });
  await fettle.enqueue({ workflow: 'lead' });
  assert.equal(clock.now(), 0);
  const keys = server.of('/runs').map((one) => one.headers['idempotency-key']);
  assert.deepEqual([keys.length, keys[1] === keys[2]], [3, true]);
});

test('two calls never share a key', async (t) => {
  const { server, fettle } = await setup(t);
  await fettle.postEvent('paid', { key: 'order-1', payload: { ok: true } });
  await fettle.postEvent('paid');
  await fettle.postEvent('paid', { idempotencyKey: 'mine' });
  const keys = server.of('/events').map((one) => one.headers['idempotency-key']);
  assert.equal(new Set(keys).size, 3);
  assert.equal(keys[2], '"mine"');
});

test('a busy server is asked again, not before it said; a refusal is not', async (t) => {
  const { server, clock, fettle } = await setup(t);
  server.fail('/runs', { status: 429, headers: { 'retry-after': '3' } });
  const call = fettle.enqueue({ workflow: 'lead' });
  await until('it waits', () => clock.pending.includes(3_000));
  clock.advance(2_999);
  assert.equal(server.of('/runs').length, 1);
  clock.advance(1);
  await call;
  server.fail('/runs', { status: 401 });
  await assert.rejects(fettle.enqueue({ workflow: 'lead' }), (error: ProblemError) => error.status === 401);
  assert.equal(server.of('/runs').length, 3);
});

test('409 with Retry-After means still running and is asked again; without, it is an answer', async (t) => {
  const { server, clock, fettle } = await setup(t);
  server.fail('/events', { status: 409, headers: { 'retry-after': '1' } }, { status: 409 });
  const call = fettle.postEvent('paid');
  await until('it waits', () => clock.pending.includes(1_000));
  clock.advance(1_000);
  await assert.rejects(call, (error: ProblemError) => error.status === 409);
});

test('an answer that does not come in time counts as unreachable', async (t) => {
  const never = { retriesMax: 0, baseMs: 0, factor: 1, capMs: 0, elapsedMaxMs: 0 };
  const { server, clock, fettle } = await setup(t, { retry: never, timeoutMs: 700 });
  const hold = gate();
  server.fail('/runs', { hold });
  const call = fettle.enqueue({ workflow: 'lead' });
  await until('it is under way', () => server.of('/runs').length === 1);
  clock.advance(700);
  await assert.rejects(call, UnreachableError);
  hold.open();
});

test('the token goes with every request, and is nowhere in an error', async (t) => {
  const { server, fettle } = await setup(t, { token: 'fettle_secret' });
  server.fail('/events', { status: 403 });
  await assert.rejects(
    fettle.postEvent('x'),
    (error: ProblemError) => !JSON.stringify([error, error.stack]).includes('fettle_secret'),
  );
  assert.equal(server.seen[0]?.headers.authorization, 'Bearer fettle_secret');
  await new Fettle({ url: server.url, token: '' }).postEvent('x');
  assert.equal(server.seen[1]?.headers.authorization, undefined);
});

test('an address that is none is refused at once', () => {
  assert.throws(() => new Fettle({ url: 'nowhere' }), FettleError);
  assert.throws(() => new Fettle({ url: 'ftp://nowhere' }), FettleError);
});

test('an observed run reports its start, its steps in order, and its end with what it used', async (t) => {
  const { server, fettle } = await setup(t);
  const run = await fettle.startRun({ workflow: 'lead', clientId: 'acme' });
  assert.equal(
    await run.step('parse', (step) => {
      step.usage({ tokens: 7, costUsd: 0.5 });
      return 'parsed';
    }),
    'parsed',
  );
  await assert.rejects(
    run.step('send', () => Promise.reject(new Error('no'))),
    /no/,
  );
  run.usage({ tokens: 2 });
  await run.fail(new Error('no'));
  const start = server.of('/runs')[0]?.body;
  assert.deepEqual(start, { workflow: 'lead', client_id: 'acme', observed: true, status: 'running' });
  const steps = server.of(`/runs/${run.runId}/steps`).flatMap((one) => one.body['steps'] as Record<string, unknown>[]);
  assert.deepEqual(
    steps.map((step) => [step['step'], step['name'], step['status'], step['tokens']]),
    [
      [1, 'parse', 'running', undefined],
      [1, 'parse', 'succeeded', 7],
      [2, 'send', 'running', undefined],
      [2, 'send', 'failed', 0],
    ],
  );
  const end = server.of(`/runs/${run.runId}/end`)[0]?.body;
  assert.deepEqual([end?.['status'], end?.['tokens'], end?.['cost_usd']], ['failed', 2, 0]);
});

test('records of a kind travel together, in order, under the names of their fields', async (t) => {
  const { server, fettle } = await setup(t);
  const ids = await Promise.all([
    fettle.logAgentFailure({
      runId: 'r',
      stepId: 4,
      message: 'failed',
      agent: 'a',
      tokens: 3,
      error: Object.assign(new Error('late'), { code: 'API_TIMEOUT' }),
    }),
    fettle.logAgentFailure({ runId: 'r', message: 'again', level: 'warn', correlationId: 'c' }),
    fettle.logWorkflowFailure({ runId: 'r', stepId: 4, stepName: 'post', message: 'stalled', retryAttempt: 2 }),
    fettle.logAuditEvent({
      action: 'job.delete',
      actor: { type: 'user', id: 'u' },
      target: { type: 'job', id: 'j' },
      result: 'success',
      before: { a: 1 },
      surface: 'api',
      lane: 'background',
      payload: { id: 1 },
      id: 'mine-1',
    }),
  ]);
  assert.ok(ids.every((one) => one.id.startsWith('rec_')));
  assert.equal(server.of('/agent_logs').length, 1);
  assert.deepEqual(server.records.get('agent_logs'), [
    { run_id: 'r', step_id: '4', level: 'error', message: 'failed', agent: 'a', tokens: 3, error: 'API_TIMEOUT: late' },
    { run_id: 'r', correlation_id: 'c', level: 'warn', message: 'again' },
  ]);
  assert.deepEqual(server.records.get('workflow_failures'), [
    { run_id: 'r', step_id: '4', step_name: 'post', message: 'stalled', retry_attempt: 2 },
  ]);
  assert.deepEqual(server.records.get('audit_logs'), [
    {
      action: 'job.delete',
      actor_type: 'user',
      actor_id: 'u',
      target_type: 'job',
      target_id: 'j',
      result: 'success',
      before: { a: 1 },
      surface: 'api',
      lane: 'background',
      payload: { id: 1 },
      id: 'mine-1',
    },
  ]);
});
