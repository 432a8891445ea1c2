// The example's six programs, with campaigns run through them: one campaign is one journey across all of them, calls of
// the model are priced, prompts and addresses never reach the disk.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { root, startServer, until } from '../server.mjs';

const CAMPAIGNS = 12;
const programs = [];
let server;

before(async () => {
  server = await startServer();
  const env = {
    ...process.env, AGENCY_PORT: '17100', AGENCY_RATE: '20', AGENCY_CAMPAIGNS: String(CAMPAIGNS),
    OTEL_EXPORTER_OTLP_ENDPOINT: server.otlpHttp, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf', OTEL_TRACES_EXPORTER: 'otlp',
    OTEL_METRICS_EXPORTER: 'otlp', OTEL_LOGS_EXPORTER: 'otlp', OTEL_METRIC_EXPORT_INTERVAL: '1000', OTEL_METRIC_EXPORT_TIMEOUT: '900', OTEL_BSP_SCHEDULE_DELAY: '200', OTEL_BLRP_SCHEDULE_DELAY: '200',
  };
  const start = (name) => programs.push(spawn('node', [join(root, 'examples/agency', `${name}.cjs`)], { env, stdio: 'ignore' }));
  ['stand-ins', 'web', 'asset-store', 'platform-connector', 'browser-runner', 'tool-gateway', 'worker'].forEach(start);
  await until('the web app', async () => (await fetch('http://127.0.0.1:17100/nothing')).status === 404);
  start('traffic');
});

after(async () => {
  await Promise.all(programs.map((program) => new Promise((ok) => {
    if (program.exitCode !== null) return ok();
    program.once('exit', ok);
    program.kill('SIGTERM');
  })));
  await server.stop();
});

const column = async (query) => (await server.sql(query)).rows.map(([value]) => value);

test('one campaign is one journey from the web app to the platform', async () => {
  await until('finished jobs', async () => Number((await column("SELECT count() FROM spans WHERE name = 'job.dequeue'"))[0]) >= CAMPAIGNS, 60_000);
  const [job] = await column("SELECT job_id FROM spans WHERE name = 'post.verify' AND status = 1 OR name = 'post.verify' ORDER BY ts LIMIT 1");
  assert.ok(job, 'no job was published');
  const journey = await server.json(`/api/v1/journeys/${job}?limit=1000`);
  const spans = journey.items.filter((item) => item.type === 'span');
  const services = new Set(spans.map((span) => span.service_name));
  for (const service of ['agency-web', 'agency-worker', 'agency-tool-gateway', 'agency-asset-store']) assert.ok(services.has(service), `${service} is missing from ${[...services]}`);
  assert.equal(journey.trace_ids.length, 1);
  for (const name of ['http.request', 'job.dequeue', 'agent.episode', 'tool.call', 'post.verify']) assert.ok(spans.some((span) => span.name === name), name);
  assert.ok(journey.items.some((item) => item.type === 'log' && item.event_name === 'job_completed'));
  for (const span of spans.filter((one) => one.name === 'tool.call')) {
    assert.ok(span.ids.client_id && span.ids.correlation_id && span.ids.lane && span.ids.platform && span.ids.episode_id, JSON.stringify(span.ids));
  }
});

test('calls of the model are priced', async () => {
  const { rows } = await server.sql("SELECT model, sum(cost_nano_usd) AS cost FROM llm_calls WHERE tokens_output > 0 GROUP BY model");
  assert.ok(rows.length > 0);
  for (const [model, cost] of rows) assert.ok(Number(cost) > 0, `${model} has no price`);
});

test('prompts and addresses are nowhere on the disk', async () => {
  for (const secret of ['Plan a publish for the brief', 'anna.fischer@example.com', 'mara.lindqvist@agency.example']) {
    const found = spawnSync('grep', ['-rlF', '--', secret, server.data], { encoding: 'utf8' });
    assert.equal(found.stdout, '', `${secret} was found`);
  }
  const { logs } = await server.json('/api/v1/logs?event_name=job_enqueued&limit=1');
  assert.match(logs[0].body, /m\*\*\*@agency\.example/);
});
