// What outlives an attempt, on the server at FETTLE_URL: sleeps, events, decisions, stops, leases and side effects. The
// one in memory has no clock, no switches and nobody who decides. The SDKs for other languages keep the same list.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, after, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { EffectUnknownError, Fettle, RetryableError } from '../src/index.ts';
import type { Handler, Json, RunContext, RunOptions, Worker } from '../src/index.ts';
import { gate } from './manual_clock.ts';

interface RunView {
  readonly state: string;
  readonly waits_for: string | null;
  readonly attempt: number;
  readonly retry_count: number;
  readonly tokens: number;
  readonly steps: readonly { name: string; status: string; result: Json }[];
  readonly [member: string]: unknown;
}
interface Page {
  readonly items: readonly Record<string, Json>[];
}
interface Audit {
  readonly entry: Readonly<Record<string, Json>>;
  readonly details: Json;
}
interface Approval {
  readonly id: string;
  readonly run_id: string | null;
  readonly state: string;
  readonly [member: string]: unknown;
}

const real = process.env['FETTLE_URL'];
const fettle = new Fettle({ url: real });
after(() => fettle.close());

const runOf = (id: string): Promise<RunView> => fettle.get<RunView>(`/api/v1/runs/${id}`);
const reasonOf = (run: RunContext): string => (run.signal.reason as { code: string }).code;

async function until<T>(what: string, probe: () => Promise<T | false>): Promise<T> {
  for (const end = Date.now() + 20_000; Date.now() < end; await pause(20)) {
    const got = await probe();
    if (got !== false) return got;
  }
  throw new Error(`gave up waiting for ${what}`);
}
// What is tried again is tried at once.
const SOON: Partial<RunOptions> = { retry: { baseMs: 1, capMs: 1 } };

const reaches = (id: string, state: string): Promise<RunView> =>
  until(`${state} of ${id}`, async () => {
    const run = await runOf(id);
    return run.state === state && run;
  });

async function working(t: TestContext, pool: string, handler: Handler): Promise<Worker> {
  const worker = fettle.worker({ pool, workflows: { durable: handler } });
  t.after(() => worker.stop({ graceMs: 0 }));
  await worker.start();
  return worker;
}

// One run in a pool of its own, with a worker there.
async function start(t: TestContext, handler: Handler, run: Partial<RunOptions> = {}): Promise<string> {
  const pool = randomUUID();
  const { runId } = await fettle.enqueue({ workflow: 'durable', pool, ...run });
  await working(t, pool, handler);
  return runId;
}

const approvals = async (runId: string): Promise<Approval[]> =>
  (await fettle.get<{ items: Approval[] }>('/api/v1/approvals?all=true')).items.filter((one) => one.run_id === runId);

async function decide(runId: string, body: object): Promise<void> {
  await reaches(runId, 'waiting');
  const open = (await approvals(runId)).find((one) => one.state === 'open');
  await fettle.post(`/api/v1/approvals/${open?.id}/decide`, body);
}

// Its end, when that was a success.
const ends = (id: string): Promise<RunView> => reaches(id, 'succeeded');

// Goes on until the run must stop: each step brings news of it.
async function untilStopped(run: RunContext): Promise<never> {
  for (;;) await run.step('still at it', () => pause(50));
}

describe('what outlives an attempt', { skip: real === undefined && 'needs a server', concurrency: true }, () => {
  test('a run that sleeps goes on when its time has come', async (t) => {
    const begins: number[] = [];
    const runId = await start(t, async (run) => {
      begins.push(Date.now());
      await run.step('before', () => begins.length);
      await run.sleep(200);
    });
    const run = await ends(runId);
    assert.equal(begins.length, 2);
    assert.ok((begins[1] as number) - (begins[0] as number) >= 200);
    assert.deepEqual([run.attempt, run.retry_count, run.steps[0]?.result], [2, 0, 1]);
  });

  test('a run that waits for an event gets its payload', async (t) => {
    const key = randomUUID();
    const runId = await start(t, async (run) => ({ got: (await run.waitFor('paid', { key })) ?? null }));
    assert.equal((await reaches(runId, 'waiting')).waits_for, 'signal');
    await fettle.postEvent('paid', { key, payload: { sum: 3 } });
    assert.deepEqual((await ends(runId))['result'], { got: { sum: 3 } });
  });

  test('an event that never comes is told to whoever waits for it', async (t) => {
    const runId = await start(t, async (run) => {
      return { came: (await run.waitFor('paid', { key: randomUUID(), timeoutMs: 200 })) !== undefined };
    });
    assert.deepEqual((await ends(runId))['result'], { came: false });
  });

  const asking = async (run: RunContext): Promise<Json> => ({
    ...(await run.approval('publish', { title: 'Publish?', details: { post: 7 }, note: 'before noon' })),
  });

  test('an approval says who approved, with which note and changes', async (t) => {
    const runId = await start(t, asking, { clientId: 'acme' });
    assert.equal((await reaches(runId, 'waiting')).waits_for, 'approval');
    const [asked] = await approvals(runId);
    assert.deepEqual(
      [asked?.['title'], asked?.['details'], asked?.['client_id'], asked?.['step']],
      ['Publish?', { post: 7, note: 'before noon' }, 'acme', 'approval:publish'],
    );
    await decide(runId, { decision: 'approve', note: 'fine', edited: { post: 8 } });
    const { decidedBy, ...rest } = (await ends(runId))['result'] as Record<string, Json>;
    assert.deepEqual(rest, { decision: 'approved', note: 'fine', edited: { post: 8 } });
    assert.ok(typeof decidedBy === 'string' && decidedBy !== '');
  });

  test('a rejection is a decision', async (t) => {
    const runId = await start(t, asking);
    await decide(runId, { decision: 'reject', note: 'not today' });
    const { decision, note } = (await ends(runId))['result'] as Record<string, Json>;
    assert.deepEqual([decision, note], ['rejected', 'not today']);
  });

  test('an approval that nobody decides expires', async (t) => {
    const runId = await start(t, async (run) => ({
      ...(await run.approval('publish', { title: 'Publish?', timeoutMs: 2_000 })),
    }));
    assert.deepEqual((await ends(runId))['result'], { decision: 'expired' });
    assert.equal((await approvals(runId))[0]?.state, 'expired');
  });

  test('an approval is asked for once whatever becomes of the attempts', async (t) => {
    let attempts = 0;
    const runId = await start(
      t,
      async (context) => {
        context.usage({ tokens: 5 });
        const answer = await asking(context);
        if (++attempts < 3) throw new RetryableError('behind the decision');
        return answer;
      },
      SOON,
    );
    await decide(runId, { decision: 'approve' });
    const ended = await ends(runId);
    assert.deepEqual([attempts, ended.retry_count, (await approvals(runId)).length], [3, 2, 1]);
    assert.equal(ended.tokens, 20, 'one attempt that asked, three behind it');
  });

  test('a question that the server refuses is a dead letter', async (t) => {
    const runId = await start(t, async (run) => ({ ...(await run.approval('publish', { title: '' })) }));
    assert.equal(((await reaches(runId, 'dead'))['last_error'] as { http_status: number }).http_status, 400);
  });

  test('a cancelled run stops its handler', async (t) => {
    const reasons: string[] = [];
    const began = gate();
    const runId = await start(t, async (run) => {
      began.open();
      await untilStopped(run).finally(() => reasons.push(reasonOf(run)));
    });
    await began.opened;
    await fettle.post(`/api/v1/runs/${runId}/cancel`, { reason: 'no longer wanted' });
    const run = await reaches(runId, 'cancelled');
    await until('the handler to stop', async () => reasons.length > 0);
    assert.deepEqual([reasons, run.attempt], [['cancelled'], 1]);
  });

  test('a kill switch stops a run that goes on uncounted when it is lifted', async (t) => {
    const clientId = randomUUID();
    const reasons: string[] = [];
    const began = gate();
    const runId = await start(
      t,
      async (run) => {
        await run.step('done before', () => run.attempt);
        began.open();
        if (run.attempt === 1) await untilStopped(run).finally(() => reasons.push(reasonOf(run)));
      },
      { clientId },
    );
    await began.opened;
    const thrown = await fettle.post<{ id: string }>('/api/v1/switches', {
      mode: 'kill',
      client_id: clientId,
      reason: 'the wrong account',
    });
    await until('the handler to stop', async () => reasons.length > 0);
    await fettle.post(`/api/v1/switches/${thrown.id}/resume`, { reason: 'it was the right one' });
    const run = await ends(runId);
    assert.deepEqual([reasons, run.retry_count, run.steps[0]?.result], [['stopped'], 0, 1]);
  });

  test('a lease that was given away stops the handler that held it', async (t) => {
    const reasons: string[] = [];
    const began = gate();
    let runnerId = '';
    const runId = await start(t, async (run) => {
      if (run.attempt > 1) return;
      began.open();
      await untilStopped(run).finally(() => reasons.push(reasonOf(run)));
    });
    await began.opened;
    ({ runner_id: runnerId } = (await runOf(runId))['lease'] as { runner_id: string });
    // As a worker that came after a pause of the first one: the lease goes, and nobody tells its holder.
    const report = { op: 'release', run_id: runId, fence: 1, reason: 'shutdown' };
    await fettle.post('/api/v1/work/report', { runner_id: runnerId, reports: [report] });
    const run = await ends(runId);
    await until('the handler to stop', async () => reasons.length > 0);
    assert.deepEqual([reasons, run.attempt, run.retry_count], [['lease_lost'], 2, 0]);
  });

  test('a worker that is stopped lets its handler finish', async (t) => {
    const pool = randomUUID();
    const began = gate();
    const finish = gate();
    const worker = await working(t, pool, async () => {
      began.open();
      await finish.opened;
    });
    const { runId } = await fettle.enqueue({ workflow: 'durable', pool });
    await began.opened;
    const stopping = worker.stop();
    finish.open();
    await stopping;
    assert.deepEqual([(await runOf(runId)).state, worker.state], ['succeeded', 'stopped']);
  });

  test('what a stopped worker gives back is resumed behind its last step', async (t) => {
    const pool = randomUUID();
    const began = gate();
    const reasons: string[] = [];
    const handler = async (run: RunContext): Promise<void> => {
      await run.step('one', () => run.attempt);
      began.open();
      if (run.attempt === 1) await untilStopped(run).finally(() => reasons.push(reasonOf(run)));
    };
    const first = await working(t, pool, handler);
    const { runId } = await fettle.enqueue({ workflow: 'durable', pool });
    await began.opened;
    await first.stop({ graceMs: 0 });
    assert.equal((await runOf(runId)).state, 'ready');
    await working(t, pool, handler);
    const run = await ends(runId);
    assert.deepEqual([reasons, run.attempt, run.retry_count, run.steps[0]?.result], [['shutdown'], 2, 0, 1]);
  });

  test('a side effect of which nobody knows is settled by looking and never repeated', async (t) => {
    const effect = { action: 'note', target: randomUUID(), payload: 'hello', clientId: 'acme', platform: 'x' };
    let performed = 0;
    const perform = (): never => {
      performed++;
      throw new Error('the connection broke behind the request');
    };
    const runId = await start(
      t,
      async (run) => {
        const doubt = await run.sideEffect(effect, perform).catch((error: unknown) => error);
        assert.ok(doubt instanceof EffectUnknownError);
        if (run.attempt === 1) throw new RetryableError('somebody else shall look');
        const listed = await fettle.get<{ items: { side_effect_id: string }[] }>('/api/v1/side-effects?to_check=true');
        assert.ok(listed.items.some((one) => one.side_effect_id === doubt.sideEffectId));
        const settled = await run.sideEffect(effect, perform, () => ({
          visible: true,
          proof: { url: 'https://x.example/1' },
        }));
        return { earlier: settled.earlier, state: settled.state };
      },
      SOON,
    );
    assert.deepEqual((await ends(runId))['result'], { earlier: true, state: 'committed' });
    assert.equal(performed, 1);
  });

  test('every option of a run reaches the server', async (t) => {
    const options = {
      clientId: 'acme',
      platform: 'x',
      lane: 'background',
      agent: 'writer',
      model: 'm-1',
      priority: 2,
      maxRetries: 7,
      retry: { baseMs: 10, factor: 3, capMs: 20, elapsedMaxMs: 1_000 },
      timeoutMs: 60_000,
      runAt: new Date(Date.now() + 50),
      concurrencyKey: randomUUID(),
      idempotencyKey: randomUUID(),
      correlationId: randomUUID(),
      jobId: 'job_1',
      requestId: 'req_1',
      trigger: { source: 'webhook', eventKey: 'evt_1' },
      payload: { n: 1 },
    };
    const runId = await start(
      t,
      (run) => ({ jobId: run.jobId, requestId: run.requestId, lane: run.lane }) as Json,
      options,
    );
    const run = await ends(runId);
    assert.deepEqual(run['result'], { jobId: 'job_1', requestId: 'req_1', lane: 'background' });
    const given = {
      client_id: options.clientId,
      platform: 'x',
      lane: 'background',
      agent: 'writer',
      priority: 2,
      max_retries: 7,
      concurrency_key: options.concurrencyKey,
      correlation_id: options.correlationId,
      payload: { n: 1 },
      context: {
        request_id: 'req_1',
        correlation_id: options.correlationId,
        job_id: 'job_1',
        model: 'm-1',
        trigger: { source: 'webhook', event_key: 'evt_1' },
        retry: { base_ms: 10, factor: 3, cap_ms: 20, elapsed_max_ms: 1_000 },
        timeout_ms: 60_000,
      },
    };
    assert.partialDeepStrictEqual(run, given);
    assert.ok(Date.parse(run['started_at'] as string) >= options.runAt.getTime());
    const again = await fettle.enqueue({ workflow: 'durable', pool: run['pool'] as string, ...options });
    assert.deepEqual([again.runId, again.created], [runId, false]);
  });

  test('records keep what is said of a step and an audit event all that the server takes', async () => {
    const runId = randomUUID();
    const id = `mine-${randomUUID()}`;
    await fettle.logWorkflowFailure({ runId, workflow: 'lead', stepId: 4, stepName: 'post', message: 'stalled' });
    await fettle.logAgentFailure({ runId, stepId: 4, stepName: 'post', message: 'failed' });
    await fettle.audit({ id, action: 'job.delete', surface: 'api', lane: 'background', payload: { job: 1 }, runId });
    const [failure] = (await fettle.get<Page>(`/api/v1/workflow_failures?ref=${runId}`)).items;
    const [log] = (await fettle.get<Page>(`/api/v1/agent_logs?ref=${runId}`)).items;
    for (const record of [failure, log]) {
      assert.deepEqual([record?.['step_id'], record?.['step_name']], ['4', 'post']);
    }
    const found = (): Promise<{ items: Audit[] }> => fettle.get(`/api/v1/audit_logs?run_id=${runId}`);
    const audit = await until('the audit record', async () => (await found()).items[0] ?? false);
    const { audit_id, action, surface, lane } = audit.entry;
    assert.deepEqual([audit_id, action, surface, lane], [id, 'job.delete', 'api', 'background']);
    assert.deepEqual(audit.details, { payload: { job: 1 } });
  });
});
