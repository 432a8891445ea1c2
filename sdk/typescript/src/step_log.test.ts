import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { pino } from 'pino';
import { until } from '../test/manual_clock.ts';
import { setup } from '../test/setup.ts';
import { RetryableError, logStepCompleted, logStepFailed, pinoStepOptions } from './index.ts';

function lines(): { logger: ReturnType<typeof pino>; written: string[] } {
  const written: string[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk.toString().trimEnd());
      done();
    },
  });
  return { logger: pino({ ...pinoStepOptions }, sink), written };
}

const line = { requestId: 'req_abc123', runId: 'run_xyz789', durationMs: 234.4 };

test('a completed step is written key for key', () => {
  const { logger, written } = lines();
  logStepCompleted(logger, { ...line, stepId: 1, stepName: 'parseEmail' }, { tokens: 156, costUsd: 0.0004 });
  assert.deepEqual(written, [
    '{"level":"info","requestId":"req_abc123","runId":"run_xyz789","stepId":1,"stepName":"parseEmail","duration":234,' +
      '"tokens":156,"costUsd":0.0004,"action":"step_completed"}',
  ]);
});

test('a failed step is written key for key, its code in front of its message once', () => {
  const { logger, written } = lines();
  const step = { ...line, stepId: 4, stepName: 'createCRMRecord' };
  logStepFailed(logger, step, 3, Object.assign(new Error('Connection timeout after 5s'), { code: 'API_TIMEOUT' }));
  logStepFailed(
    logger,
    step,
    3,
    Object.assign(new Error('API_TIMEOUT: Connection timeout after 5s'), { code: 'API_TIMEOUT' }),
  );
  const expected =
    '{"level":"error","requestId":"req_abc123","runId":"run_xyz789","stepId":4,"stepName":"createCRMRecord","duration":234,' +
    '"retryCount":3,"error":"API_TIMEOUT: Connection timeout after 5s","action":"step_failed"}';
  assert.deepEqual(written, [expected, expected]);
});

test('a worker writes both lines of its steps', async (t) => {
  const { server, clock, fettle } = await setup(t);
  const { logger, written } = lines();
  const worker = fettle.worker({
    logger,
    workflows: {
      lead: async (run) => {
        await run.step('parseEmail', (step) => {
          clock.advance(234);
          step.usage({ tokens: 156, costUsd: 0.0004 });
        });
        await run.step('createCRMRecord', () => {
          clock.advance(500);
          throw new RetryableError('Connection timeout after 5s', { code: 'API_TIMEOUT' });
        });
      },
    },
  });
  const run = server.add('lead', { request_id: 'req_1' });
  run.retryCount = 3;
  await worker.start();
  await until('it fails', () => run.state === 'failed');
  assert.deepEqual(
    written.map((text) => JSON.parse(text)),
    [
      {
        level: 'info',
        requestId: 'req_1',
        runId: 'run_1',
        stepId: 1,
        stepName: 'parseEmail',
        duration: 234,
        tokens: 156,
        costUsd: 4e-4,
        action: 'step_completed',
      },
      {
        level: 'error',
        requestId: 'req_1',
        runId: 'run_1',
        stepId: 2,
        stepName: 'createCRMRecord',
        duration: 500,
        retryCount: 3,
        error: 'API_TIMEOUT: Connection timeout after 5s',
        action: 'step_failed',
      },
    ],
  );
  await worker.stop();
});
