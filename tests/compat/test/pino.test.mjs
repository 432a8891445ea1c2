// pino with its OpenTelemetry transport, and pino's own lines posted as they are.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pino from 'pino';
import { startServer, until } from '../server.mjs';

let server;
before(async () => { server = await startServer(); });
after(() => server.stop());

const find = (word) => until(word, async () => {
  const { logs } = await server.json(`/api/v1/logs?q=${word}`);
  return logs[0];
});

test('pino over its OTLP transport', async () => {
  const transport = pino.transport({
    target: 'pino-opentelemetry-transport',
    options: {
      loggerName: 'pino', serviceVersion: '1.0.0', resourceAttributes: { 'service.name': 'pino-app' },
      logRecordProcessorOptions: [{ recordProcessorType: 'simple', exporterOptions: {
        protocol: 'http/protobuf', protobufExporterOptions: { url: `${server.otlpHttp}/v1/logs` } } }],
    },
  });
  const log = pino(transport);
  log.error({ client_id: 'acme' }, 'wombatone failed');
  await new Promise((ok) => log.flush(ok));
  const got = await find('wombatone');
  assert.equal(got.level, 'error');
  assert.equal(got.service_name, 'pino-app');
  assert.equal(got.ids.client_id, 'acme');
  transport.end();
});

test("pino's own lines", async () => {
  const lines = [];
  const log = pino({ name: 'worker' }, { write: (line) => lines.push(line) });
  log.child({ requestId: 'req_abc123', runId: 'run_xyz789' }).info({ stepName: 'parseEmail', duration: 234, tokens: 156, costUsd: 0.0004, action: 'step_completed' }, 'wombattwo');
  log.error({ err: Object.assign(new Error('Connection timeout after 5s'), { code: 'API_TIMEOUT' }) }, 'wombatthree');
  const response = await fetch(`${server.base}/api/v1/ingest/logs`, { method: 'POST', headers: { 'content-type': 'application/x-ndjson' }, body: lines.join('') });
  assert.equal(response.status, 200, await response.text());
  const two = await find('wombattwo');
  assert.equal(two.service_name, 'worker');
  assert.equal(two.ids.request_id, 'req_abc123');
  assert.equal(two.ids.run_id, 'run_xyz789');
  assert.equal(two.event_name, 'step_completed');
  assert.equal(two.attrs.tokens, 156);
  const three = await find('wombatthree');
  assert.equal(three.level, 'error');
  assert.equal(three.attrs['exception.message'], 'Connection timeout after 5s');
  assert.equal(three.ids.error_code, 'API_TIMEOUT');
});

test('structlog lines whose trace id is no trace id are found by it', async () => {
  const line = { event: 'webhook_received', level: 'info', timestamp: new Date().toISOString(), logger: 'app', trace_id: 'abc-123', model: 'sale.order' };
  const response = await fetch(`${server.base}/api/v1/ingest/logs`, { method: 'POST', headers: { 'content-type': 'application/x-ndjson' }, body: `${JSON.stringify(line)}\n` });
  assert.equal(response.status, 200, await response.text());
  const journey = await until('the journey', async () => {
    const answer = await fetch(`${server.base}/api/v1/journeys/abc-123`);
    return answer.ok ? answer.json() : null;
  });
  assert.equal(journey.items[0].event_name, 'webhook_received');
  assert.ok(journey.kinds.some((kind) => kind.kind === 'trace_id'));
});
