// No room: a spool at its budget, a full disk, a block that the store will not have. Senders are told when to come
// again, and everything goes on by itself once there is room.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { Fettle, JSON_TYPE, any, attributes, hex, logs, metrics, nanos, post, protobuf, root, scratch, sleep, span, traces, until } from './harness.mjs';

const grpc = createRequire(join(root, 'tests/compat/package.json'))('@grpc/grpc-js');
const RESOURCE_EXHAUSTED = 8, UNAVAILABLE = 14;

// About `bytes` of log lines that neither compress well nor look like secrets.
let lineNumber = 0;
function bulk(service, bytes) {
  const words = Array.from({ length: 200 }, () => Math.random().toString(36).slice(2, 7));
  const records = [];
  for (let left = bytes; left > 0; left -= 1000) {
    const body = Array.from({ length: 150 }, () => words[Math.floor(Math.random() * words.length)]).join(' ');
    records.push({ timeUnixNano: nanos(), severityNumber: 9, body: any(body), attributes: attributes({ line: ++lineNumber }) });
  }
  return { records: records.length, body: Buffer.from(JSON.stringify(logs(service, records))) };
}

const exportOverGrpc = (server, body) => new Promise((ok) => {
  const client = new grpc.Client(`127.0.0.1:${server.ports.otlp_grpc}`, grpc.credentials.createInsecure());
  client.makeUnaryRequest('/opentelemetry.proto.collector.logs.v1.LogsService/Export', (bytes) => bytes, (bytes) => bytes, protobuf(body), (error, answer) => {
    client.close();
    ok({ code: error ? error.code : 0, details: error?.metadata?.get('grpc-status-details-bin')[0], message: error?.details, answer });
  });
});

// Holds the engine still for as long as it runs: whatever the watchdog starts anew is stopped too.
function holdEngine(server) {
  let held = true;
  const done = (async () => {
    while (held) {
      await server.killEngine('SIGSTOP').catch(() => { held = false; });  // the server has ended
      await sleep(100);
    }
    await server.killEngine('SIGCONT').catch(() => {});
  })();
  return async () => { held = false; await done; };
}

// Sends until the server says to come again, and checks how it says so. Gives the accepted records.
async function fill(server, service, bytes, most) {
  let accepted = 0;
  for (let i = 0; i < most; ++i) {
    const { records, body } = bulk(service, bytes);
    const answer = await post(server, '/v1/logs', JSON_TYPE, body);
    if (answer.status === 200) {
      accepted += records;
      continue;
    }
    assert.ok(answer.status === 429 || answer.status === 503, `${answer.status} ${answer.body}`);
    assert.ok(Number(answer.headers['retry-after']) >= 1, JSON.stringify(answer.headers));
    const status = JSON.parse(answer.body);
    assert.ok([RESOURCE_EXHAUSTED, UNAVAILABLE].includes(status.code), answer.body.toString());
    return { accepted, refused: body, refusedRecords: records, status: answer.status };
  }
  throw new Error(`never refused after ${most} requests of ${bytes} bytes`);
}

const countOf = async (server, service) => Number((await server.sql(`SELECT count() FROM logs WHERE service_name = '${service}'`))[0][0]);

test('a spool at its budget refuses with a time to come again, over HTTP and gRPC, and recovers by itself', { timeout: 300_000 }, async (t) => {
  const server = new Fettle({ config: 'limits: {spool_bytes: 64MiB}\n' });
  t.after(() => server.dispose());
  await server.start();
  const release = holdEngine(server);
  t.after(release);
  const before = await server.json('/api/v1/ingest/status');
  assert.equal(before.dropped_recent, 0);
  const coarse = await fill(server, 'budget', 4_000_000, 100);
  const full = await fill(server, 'budget', 50_000, 200);
  full.accepted += coarse.accepted;
  assert.equal(full.status, 429);
  // Every transport says so, and gRPC with RetryInfo: without it no client comes back.
  const called = await exportOverGrpc(server, JSON.parse(coarse.refused));
  assert.equal(called.code, RESOURCE_EXHAUSTED, called.message);
  assert.ok(called.details?.includes('google.rpc.RetryInfo'), `no RetryInfo: ${called.details}`);
  assert.equal((await server.json('/api/v1/ingest/status')).dropped_recent, 3, 'two over HTTP and one over gRPC');
  const lines = await post(server, '/api/v1/ingest/logs', 'application/x-ndjson', Buffer.from('{"msg":"x"}\n'.repeat(300_000)));
  assert.equal(lines.status, 429, lines.body.toString().slice(0, 200));
  assert.equal(JSON.parse(lines.body).status, 429);
  const { spool } = await server.json('/api/v1/ingest/status');
  assert.ok(spool.bytes <= spool.bytes_max, JSON.stringify(spool));

  await release();
  await until('room', async () => (await post(server, '/v1/logs', JSON_TYPE, full.refused)).status === 200, 60_000);
  const books = await server.settled(undefined, 120_000);
  for (const line of books) assert.equal(line.balanced, true, JSON.stringify(line));
  assert.equal(await countOf(server, 'budget'), full.accepted + full.refusedRecords);
  assert.deepEqual(await server.terminate(), { code: 0, signal: null });
});

test('a full disk refuses with a time to come again and recovers when there is space', { timeout: 300_000 }, async (t) => {
  const folder = scratch();
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=160m', 'tmpfs', disk], { encoding: 'utf8' });
  if (mounted.status !== 0) {
    rmSync(folder, { recursive: true });
    t.skip(`a small disk can be mounted by root alone: ${mounted.stderr ?? mounted.error}`);
    return;
  }
  const server = new Fettle({ data: join(disk, 'data') });
  t.after(async () => {
    await server.dispose();
    spawnSync('umount', ['-l', disk]);
    rmSync(folder, { recursive: true, force: true });
  });
  await server.start();
  const first = bulk('full-disk', 100_000);
  assert.equal((await post(server, '/v1/logs', JSON_TYPE, first.body)).status, 200);
  await server.settled();

  // Somebody else takes the rest of the disk.
  const filler = join(disk, 'filler');
  spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=1M'], { encoding: 'utf8' });
  const full = await fill(server, 'full-disk', 1_000_000, 400);
  const called = await exportOverGrpc(server, JSON.parse(full.refused));
  assert.ok([RESOURCE_EXHAUSTED, UNAVAILABLE].includes(called.code), called.message);
  assert.ok(called.details?.includes('google.rpc.RetryInfo'), `no RetryInfo: ${called.message}`);
  assert.equal((await fetch(`${server.base}/health/live`)).status, 200);
  assert.equal((await fetch(`${server.base}/health`)).status, 503);
  await sleep(2000);
  assert.equal(server.child.exitCode, null, server.log().slice(-2000));

  rmSync(filler);
  await until('space', async () => (await post(server, '/v1/logs', JSON_TYPE, full.refused)).status === 200, 60_000);
  const books = await server.settled(undefined, 120_000);
  for (const line of books) assert.equal(line.balanced, true, JSON.stringify(line));
  assert.equal(await countOf(server, 'full-disk'), first.records + full.accepted + full.refusedRecords);
  t.diagnostic(`${full.accepted} records were taken before the refusal`);
});

test('thirty days in one request, in all three signals, are stored and do not stop the queue', { timeout: 120_000 }, async (t) => {
  const server = new Fettle();
  t.after(() => server.dispose());
  await server.start();
  // One half-day short of the retention, so that a slow machine does not push the oldest over its edge.
  const times = Array.from({ length: 30 }, (_, day) => Date.now() - day * 86_400_000 - (day === 29 ? -43_200_000 : 0));
  const sent = [
    ['/v1/traces', traces('days', times.map((at) => span({ startTimeUnixNano: nanos(at), endTimeUnixNano: nanos(at + 5), status: { code: 2 } })))],
    ['/v1/logs', logs('days', times.map((at) => ({ timeUnixNano: nanos(at), body: any('a line') })))],
    ['/v1/metrics', metrics('days', [{ name: 'days', gauge: { dataPoints: times.map((at) => ({ timeUnixNano: nanos(at), asDouble: 1 })) } }])],
  ];
  for (const [path, body] of sent) {
    const answer = await post(server, path, JSON_TYPE, Buffer.from(JSON.stringify(body)));
    assert.equal(answer.status, 200, answer.body.toString());
    assert.equal(JSON.parse(answer.body).partialSuccess, undefined, answer.body.toString());
  }
  const books = await server.settled();
  for (const line of books) assert.equal(line.stored, 30, JSON.stringify(line));
  await sleep(3000);  // the store merges, and must not think of any of it as too old
  assert.equal(Number((await server.sql("SELECT count() FROM spans WHERE service_name = 'days'"))[0][0]), 30);
  assert.equal(await countOf(server, 'days'), 30);
  assert.equal(Number((await server.sql("SELECT count() FROM metrics WHERE name = 'days'"))[0][0]), 30);
});

test('records at every edge that the door lets through are stored, or put aside by themselves, and the queue goes on', { timeout: 120_000 }, async (t) => {
  const server = new Fettle();
  t.after(() => server.dispose());
  await server.start();
  const strange = [
    { kind: 4242, status: { code: 99 } },
    { kind: -1 },
    { endTimeUnixNano: '18446744073709551615' },
    { endTimeUnixNano: '0' },
    { endTimeUnixNano: '1' },
    { flags: 4294967295, droppedAttributesCount: 4294967295, droppedEventsCount: 4294967295, droppedLinksCount: 4294967295 },
    { events: [{ timeUnixNano: '0', name: '' }, { timeUnixNano: '18446744073709551615', name: 'end of time' }] },
    { links: [{ traceId: hex(3), spanId: hex(1) }, { traceId: '', spanId: '' }] },
    { attributes: [{ key: '', value: {} }, { key: 'a', value: {} }, { key: 'a', value: any(1) }, { key: 'a', value: any('twice') }, { key: 'a.b', value: any(1) }, { key: 'a.b.c', value: any(2) }] },
    { attributes: attributes({ big: 1e308, small: 5e-324, list: [1, 'a', true, [2, { x: [] }]], nothing: {}, empty: [] }) },
    { attributes: [{ key: 'i', value: { intValue: '9223372036854775807' } }, { key: 'j', value: { intValue: '-9223372036854775808' } }, { key: 'n', value: { doubleValue: 'NaN' } }, { key: 'p', value: { doubleValue: 'Infinity' } }] },
    { attributes: [{ key: 'k'.repeat(10_000), value: any('v'.repeat(100_000)) }, { key: 'null\u0000byte', value: any('a\u0000b') }, { key: 'quote\'"`\\', value: any('\'"`\\') }] },
    { attributes: attributes(Object.fromEntries(Array.from({ length: 1500 }, (_, i) => [`key.${i}`, i]))) },
    { name: '' }, { name: 'n'.repeat(100_000) }, { traceState: 't'.repeat(100_000) },
  ];
  const spans = strange.map((fields) => span(fields));
  const body = Buffer.from(JSON.stringify(traces('edges', spans)));
  const answer = await post(server, '/v1/traces', JSON_TYPE, body);
  assert.equal(answer.status, 200, answer.body.toString());
  const rejected = Number(JSON.parse(answer.body).partialSuccess?.rejectedSpans ?? 0);
  const level = [-5, 0, 1, 25, 2147483647].map((severityNumber) => ({ timeUnixNano: nanos(), severityNumber, body: any(`level ${severityNumber}`) }));
  assert.equal((await post(server, '/v1/logs', JSON_TYPE, Buffer.from(JSON.stringify(logs('edges', level))))).status, 200);
  const point = (fields) => ({ timeUnixNano: nanos(), ...fields });
  assert.equal((await post(server, '/v1/metrics', JSON_TYPE, Buffer.from(JSON.stringify(metrics('edges', [
    { name: 'edge.gauge', gauge: { dataPoints: [point({ asDouble: 'NaN' }), point({ asDouble: '-Infinity' }), point({ asInt: '-9223372036854775808' }), point({ asInt: '1', startTimeUnixNano: '18446744073709551615' })] } },
    { name: 'edge.histogram', histogram: { aggregationTemporality: 77, dataPoints: [point({ count: '18446744073709551615', explicitBounds: [1], bucketCounts: ['18446744073709551615', '0'] })] } },
    { name: 'edge.exponential', exponentialHistogram: { aggregationTemporality: 2, dataPoints: [point({ count: '2', scale: 2147483647, positive: { offset: -2147483648, bucketCounts: ['2'] } })] } },
  ]))))).status, 200);
  // What comes after them is stored.
  const after = span();
  assert.equal((await post(server, '/v1/traces', JSON_TYPE, Buffer.from(JSON.stringify(traces('after', [after]))))).status, 200);
  const books = await server.settled();
  for (const line of books) assert.equal(line.balanced, true, JSON.stringify(line));
  assert.equal((await server.json(`/api/v1/traces/${after.traceId}`)).spans.length, 1);
  const { refused_rows: refused } = await server.json('/api/v1/ingest/status');
  assert.equal(refused, 0, `the store refused ${refused} rows: ${server.log().slice(-3000)}`);
  const [[stored]] = await server.sql("SELECT count() FROM spans WHERE service_name = 'edges'");
  assert.equal(Number(stored), spans.length - rejected);
  let missing = 0;
  for (const one of spans) {
    const answer = await fetch(`${server.base}/api/v1/traces/${one.traceId}`);
    if (answer.status === 404) {
      missing += 1;
      continue;
    }
    const { spans: read } = await answer.json();
    assert.equal(read.length, 1);
    assert.ok(read[0].duration_ms >= 0, JSON.stringify(read[0].duration_ms));
  }
  assert.equal(missing, rejected);
  assert.equal((await server.json('/api/v1/logs?service=edges&limit=100')).logs.length, level.length);
  t.diagnostic(`${rejected} of ${spans.length} strange spans rejected at the door`);
});
