// Everything that can be wrong with what arrives: the documented answer, a living server, no growth.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import zlib from 'node:zlib';
import { Fettle, JSON_TYPE, NDJSON_TYPE, PROTOBUF_TYPE, any, attributes, field, hex, logs, metrics, nanos, post, protobuf, request, root, span, traces, until } from './harness.mjs';

const grpc = createRequire(join(root, 'tests/compat/package.json'))('@grpc/grpc-js');
const BODY_MAX = 4 * 1024 * 1024;
const SIGNALS = ['traces', 'logs', 'metrics'];
const SLOW = { timeout: 120_000 };
let server;
before(async () => { server = await new Fettle({ config: 'limits: {body_bytes: 4MiB}\n' }).start(); });
after(async () => {
  // Whatever was sent: it lives, it takes the next request, and it ends in order.
  try {
    const one = span();
    assert.equal((await post(server, '/v1/traces', JSON_TYPE, JSON.stringify(traces('last', [one])))).status, 200);
    await until('the last span', async () => (await fetch(`${server.base}/api/v1/traces/${one.traceId}`)).ok, 60_000);
    for (const line of await server.settled()) assert.equal(line.balanced, true, JSON.stringify(line));
    assert.equal((await server.json('/api/v1/ingest/status')).refused_rows, 0);
    assert.deepEqual(await server.terminate(), { code: 0, signal: null });
  } finally {
    await server.dispose();
  }
});

// A refusal in the words of the protocol: google.rpc.Status in the encoding of the request.
async function assertRefused(status, path, type, body, headers) {
  const answer = await post(server, path, type, body, headers);
  assert.equal(answer.status, status, `${path} ${type}: ${answer.status} ${answer.body.toString().slice(0, 200)}`);
  assert.ok(answer.body.length > 0, 'a refusal says why');
  if (type === JSON_TYPE) assert.ok(JSON.parse(answer.body).message, answer.body.toString());
  if (type === PROTOBUF_TYPE) assert.equal(answer.headers['content-type'], PROTOBUF_TYPE);
  return answer;
}

const sample = {
  traces: () => traces('input', [span({ attributes: attributes({ a: 'b', n: 1, list: ['x'], map: { k: 'v' } }), events: [{ timeUnixNano: nanos(), name: 'e' }], status: { message: 'm', code: 2 } })]),
  logs: () => logs('input', [{ timeUnixNano: nanos(), severityNumber: 9, severityText: 'INFO', body: any({ a: ['b', { c: 1.5 }] }), attributes: attributes({ a: 'b' }) }]),
  metrics: () => metrics('input', [{ name: 'input.gauge', unit: '1', gauge: { dataPoints: [{ timeUnixNano: nanos(), asDouble: 1.5, attributes: attributes({ lane: 'a' }) }] } }]),
};

test('the samples that are broken below are taken when they are whole', async () => {
  for (const signal of SIGNALS) {
    assert.equal((await post(server, `/v1/${signal}`, JSON_TYPE, JSON.stringify(sample[signal]()))).status, 200);
    assert.equal((await post(server, `/v1/${signal}`, PROTOBUF_TYPE, protobuf(sample[signal]()))).status, 200);
  }
});

test('a request that is cut short anywhere is taken or refused with 400, never more', SLOW, async () => {
  for (const signal of SIGNALS) {
    for (const [type, whole] of [[JSON_TYPE, Buffer.from(JSON.stringify(sample[signal]()))], [PROTOBUF_TYPE, protobuf(sample[signal]())]]) {
      for (let end = 1; end < whole.length; end += Math.max(3, Math.floor(whole.length / 25))) {
        const answer = await post(server, `/v1/${signal}`, type, whole.subarray(0, end));
        assert.equal(answer.status, 400, `${signal} ${type} cut at ${end}: ${answer.status}`);
      }
    }
  }
});

test('bytes that are changed at random are taken or refused with 400, never more', SLOW, async () => {
  for (let i = 0; i < 150; ++i) {
    const signal = SIGNALS[i % 3];
    const [type, bytes] = i % 2 ? [JSON_TYPE, Buffer.from(JSON.stringify(sample[signal]()))] : [PROTOBUF_TYPE, protobuf(sample[signal]())];
    for (let n = 0; n <= i % 5; ++n) bytes[Math.floor(Math.random() * bytes.length)] = Math.floor(Math.random() * 256);
    const answer = await post(server, `/v1/${signal}`, type, bytes);
    assert.ok(answer.status === 200 || answer.status === 400, `${answer.status}: ${bytes.toString('base64')}`);
  }
});

test('JSON that is not a request is refused with 400', async () => {
  for (const signal of SIGNALS) {
    for (const body of ['', 'x', '[]', '"text"', '7', 'null', '{"resourceSpans":7,"resourceLogs":7,"resourceMetrics":7}', '{"a":1}x', '{"a":', '{\'a\':1}', '\ufeff{', '{"a":1,}', '\u0000']) {
      await assertRefused(400, `/v1/${signal}`, JSON_TYPE, body);
    }
  }
});

test('an unknown field, an empty request and unknown enum numbers are no error', async () => {
  assert.equal((await post(server, '/v1/traces', JSON_TYPE, '{}')).status, 200);
  assert.equal((await post(server, '/v1/traces', JSON_TYPE, '{"later":[{"deep":{"er":1}}]}')).status, 200);
  assert.equal((await post(server, '/v1/traces', PROTOBUF_TYPE, '')).status, 200);
  const unknown = Buffer.concat([protobuf(sample.traces()), field.bytes(900, 'later'), field.number(901, 5)]);
  assert.equal((await post(server, '/v1/traces', PROTOBUF_TYPE, unknown)).status, 200);
});

test('another content type or encoding is refused with 415, another method with 405, another path with 404', async () => {
  const body = JSON.stringify(sample.traces());
  for (const type of ['text/plain', 'application/xml', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/x-ndjson', '', undefined]) {
    assert.equal((await post(server, '/v1/traces', type, body)).status, 415, `${type}`);
  }
  assert.equal((await post(server, '/api/v1/ingest/logs', 'text/plain', 'a line\n')).status, 415);
  assert.equal((await post(server, '/v1/traces', `${JSON_TYPE}; charset=utf-8`, body)).status, 200);
  await assertRefused(415, '/v1/traces', JSON_TYPE, body, { 'content-encoding': 'br' });
  for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) assert.equal((await request(`${server.otlp}/v1/traces`, { method })).status, 405, method);
  for (const path of ['/', '/v1', '/v1/trace', '/v1/traces/', '/v1/profiles', '/api/v1/spans', `/${'a'.repeat(3000)}`, '/%00', '/..%2f..%2fetc/passwd']) {
    assert.equal((await post(server, path, JSON_TYPE, body)).status, 404, path);
  }
  for (const path of ['/api/v1/nothing', '/api/v1/traces/', '/api/v1/spans?limit=0', '/api/v1/spans?limit=x', '/api/v1/spans?from=yesterday', '/api/v1/spans?cursor=%00', '/api/v1/spans?nobody_knows_this=1', '/api/v1/logs?level=loud']) {
    const answer = await request(server.base + path, { method: 'GET' });
    assert.ok(answer.status === 400 || answer.status === 404, `${path}: ${answer.status}`);
    assert.equal(answer.headers['content-type'], 'application/problem+json', path);
  }
});

test('an oversized body is refused with 413 by its length, as it is read, and as it is unpacked', SLOW, async () => {
  const big = Buffer.alloc(BODY_MAX + 1, 0x20);
  await assertRefused(413, '/v1/traces', JSON_TYPE, big);
  // Declared alone: nothing of the body is waited for.
  const declared = await rawExchange(`POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n`);
  assert.match(declared, /^HTTP\/1\.1 413 /);
  const chunked = await new Promise((ok, fail) => {
    const sent = http.request(`${server.otlp}/v1/traces`, { method: 'POST', headers: { 'content-type': JSON_TYPE, 'transfer-encoding': 'chunked' } }, (answer) => { answer.resume(); ok(answer.statusCode); });
    sent.on('error', (error) => (error.code === 'ECONNRESET' || error.code === 'EPIPE' ? ok('cut') : fail(error)));
    for (let left = BODY_MAX + 1; left > 0; left -= 65_536) sent.write(big.subarray(0, 65_536));
    sent.end();
  });
  assert.ok(chunked === 413 || chunked === 'cut', `${chunked}`);
  for (const [encoding, pack] of [['gzip', zlib.gzipSync], ['deflate', zlib.deflateSync], ['zstd', zlib.zstdCompressSync]]) {
    await assertRefused(413, '/v1/traces', JSON_TYPE, pack(big), { 'content-encoding': encoding });
    await assertRefused(413, '/v1/logs', PROTOBUF_TYPE, pack(big), { 'content-encoding': encoding });
    const whole = pack(Buffer.from(JSON.stringify(sample.traces())));
    assert.equal((await post(server, '/v1/traces', JSON_TYPE, whole, { 'content-encoding': encoding })).status, 200, encoding);
    await assertRefused(400, '/v1/traces', JSON_TYPE, whole.subarray(0, whole.length - 5), { 'content-encoding': encoding });
    await assertRefused(400, '/v1/traces', JSON_TYPE, Buffer.from('not packed at all'), { 'content-encoding': encoding });
  }
});

test('compression bombs are refused with 413 and cost no memory', SLOW, async (t) => {
  const bombs = [['gzip', zlib.gzipSync(Buffer.alloc(1 << 27), { level: 9 })], ['zstd', zlib.zstdCompressSync(Buffer.alloc(1 << 27))]];
  const before_ = server.residentKiB();
  for (let i = 0; i < 10; ++i) {
    for (const [encoding, bomb] of bombs) await assertRefused(413, `/v1/${SIGNALS[i % 3]}`, PROTOBUF_TYPE, bomb, { 'content-encoding': encoding });
  }
  const grown = server.residentKiB() - before_;
  t.diagnostic(`grown by ${grown} KiB`);
  assert.ok(grown < 64 * 1024, `grown by ${grown} KiB`);
});

test('deep nesting is refused or cut, in every encoding', SLOW, async () => {
  for (const depth of [10, 1_000, 100_000]) {
    const open = '{"arrayValue":{"values":['.repeat(depth), close = ']}}'.repeat(depth);
    const body = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"${nanos()}","body":${open}{"stringValue":"x"}${close}}]}]}]}`;
    if (body.length < BODY_MAX) {
      const { status } = await post(server, '/v1/logs', JSON_TYPE, body);
      assert.ok(depth <= 10 ? status === 200 : status === 400, `JSON ${depth}: ${status}`);
    }
    assert.equal((await post(server, '/v1/logs', JSON_TYPE, '['.repeat(depth))).status, 400);
    assert.equal((await post(server, '/v1/logs', JSON_TYPE, '{"a":'.repeat(depth))).status, 400);
    const line = await post(server, '/api/v1/ingest/logs', NDJSON_TYPE, `{"msg":"deep","a":${'['.repeat(depth)}${']'.repeat(depth)}}\n`);
    assert.ok(line.status === 200 || line.status === 400, `NDJSON ${depth}: ${line.status}`);
  }
  // In protobuf every level adds its length; 2,000 levels are twice as deep as any parser should follow.
  for (const depth of [10, 2_000, 20_000]) {
    let value = field.bytes(1, 'x');
    for (let i = 0; i < depth; ++i) value = field.bytes(5, field.bytes(1, value));
    const body = field.bytes(1, field.bytes(2, field.bytes(2, Buffer.concat([field.fixed64(1, nanos()), field.bytes(5, value)]))));
    const { status } = await post(server, '/v1/logs', PROTOBUF_TYPE, body);
    assert.ok(depth <= 10 ? status === 200 : status === 400, `protobuf ${depth}: ${status}`);
  }
});

test('ill-formed UTF-8 is repaired, and told apart from nothing', async () => {
  const bad = [Buffer.from([0xff, 0xfe]), Buffer.from([0xc0, 0x80]), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from([0xf8, 0x88, 0x80, 0x80, 0x80]), Buffer.from('cut \xe2\x82', 'latin1')];
  for (const [i, bytes] of bad.entries()) {
    const traceId = hex(16);
    const one = Buffer.concat([
      field.bytes(1, Buffer.from(traceId, 'hex')), field.bytes(2, Buffer.from(hex(8), 'hex')), field.bytes(5, Buffer.concat([Buffer.from(`bad ${i} `), bytes])),
      field.fixed64(7, nanos()), field.fixed64(8, nanos()), field.bytes(9, Buffer.concat([field.bytes(1, bytes), field.bytes(2, field.bytes(1, bytes))]))]);
    const answer = await post(server, '/v1/traces', PROTOBUF_TYPE, field.bytes(1, field.bytes(2, field.bytes(2, one))));
    assert.equal(answer.status, 200, answer.body.toString());
    const read = await until('the span', async () => { const r = await fetch(`${server.base}/api/v1/traces/${traceId}`); return r.ok && r.json(); }, 60_000);
    assert.match(read.spans[0].name, new RegExp(`^bad ${i} .*\ufffd`));
  }
  const json = Buffer.concat([Buffer.from('{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"'), bad[0], Buffer.from('"}]}]}]}')]);
  const { status } = await post(server, '/v1/traces', JSON_TYPE, json);
  assert.ok(status === 200 || status === 400, `${status}`);
  assert.equal((await post(server, '/api/v1/ingest/logs', NDJSON_TYPE, Buffer.concat([Buffer.from('{"msg":"'), bad[0], Buffer.from('"}\n')]))).status, 200);
});

test('absurd times are rejected by themselves, and the rest of the request is stored', async () => {
  const absurd = ['0', '1', '-1', '18446744073709551615', '9223372036854775807', '9223372036854775808', nanos(Date.now() + 7_200_000), nanos(Date.now() - 40 * 86_400_000)];
  const good = span({ name: 'in time' });
  for (const time of absurd) {
    const answer = await post(server, '/v1/traces', JSON_TYPE, JSON.stringify(traces('times', [span({ startTimeUnixNano: time, endTimeUnixNano: time }), span({ traceId: good.traceId })])));
    if (time === '-1') {
      assert.ok(answer.status === 200 || answer.status === 400, `${answer.status}`);
      continue;
    }
    assert.equal(answer.status, 200, `${time}: ${answer.body}`);
    const { partialSuccess } = JSON.parse(answer.body);
    assert.equal(Number(partialSuccess?.rejectedSpans), 1, `${time}: ${answer.body}`);
    assert.ok(partialSuccess.errorMessage, answer.body.toString());
  }
  const over = await post(server, '/v1/traces', JSON_TYPE, JSON.stringify(traces('times', [span({ startTimeUnixNano: '99999999999999999999999' })])));
  assert.equal(over.status, 400, over.body.toString());
});

test('ids: not hexadecimal is 400, of the wrong length or all zero rejects the span', async () => {
  for (const fields of [{ traceId: 'zz'.repeat(16) }, { spanId: 'not hexadecimal!' }, { traceId: 'abc' }]) {
    await assertRefused(400, '/v1/traces', JSON_TYPE, JSON.stringify(traces('ids', [span(fields)])));
  }
  for (const fields of [{ traceId: '' }, { spanId: '' }, { traceId: '0'.repeat(32) }, { spanId: '0'.repeat(16) }, { traceId: hex(15) }, { traceId: hex(17) }, { spanId: hex(9) }]) {
    for (const [type, body] of [[JSON_TYPE, JSON.stringify(traces('ids', [span(fields), span()]))], [PROTOBUF_TYPE, protobuf(traces('ids', [span(fields), span()]))]]) {
      const answer = await post(server, '/v1/traces', type, body);
      assert.equal(answer.status, 200, answer.body.toString());
      if (type === JSON_TYPE) assert.equal(Number(JSON.parse(answer.body).partialSuccess?.rejectedSpans), 1, answer.body.toString());
    }
  }
});

test('lines: what cannot be read as JSON is kept as text, and no line stops the next', async () => {
  const body = ['{"msg":"whole","n":1}', '{"msg":"cut', 'plain words', '', '[]', '7', 'null', '{"time":"never","msg":"no time"}', '{"msg":{"deep":1}}', '{"level":{"odd":true},"msg":7}', `{"msg":"${'x'.repeat(500_000)}"}`, '\u0000\u0001', '{"msg":"end"}'].join('\n');
  const answer = await post(server, '/api/v1/ingest/logs?service=lines', NDJSON_TYPE, body);
  assert.equal(answer.status, 200, answer.body.toString());
  const { accepted, rejected } = JSON.parse(answer.body);
  assert.ok(accepted >= 8, answer.body.toString());
  await until('the lines', async () => (await server.json('/api/v1/logs?service=lines&limit=50')).logs.length === accepted, 60_000);
  assert.ok(rejected >= 0);
  for (const broken of ['{', '"a"', '7', '']) assert.ok([200, 400].includes((await post(server, '/api/v1/ingest/logs', JSON_TYPE, broken)).status), broken);
});

// Sends `text` and gives what comes back until the other side closes or `ms` are over.
function rawExchange(text, ms = 20_000, port = server.ports.otlp_http) {
  return new Promise((ok) => {
    const socket = net.connect(port, '127.0.0.1');
    let got = '';
    const end = () => { clearTimeout(timer); socket.destroy(); ok(got); };
    const timer = setTimeout(end, ms);
    socket.on('data', (piece) => { got += piece; if (/\r\n\r\n/.test(got) && ms < 60_000) end(); });
    socket.on('close', end);
    socket.on('error', end);
    socket.write(text);
  });
}

test('what is not HTTP is answered with 400 or cut off', async () => {
  for (const port of [server.ports.http, server.ports.otlp_http]) {
    for (const text of ['\r\n\r\n', 'hello\r\n\r\n', 'GET\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', 'POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n',
      'POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello', 'POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nzz\r\n',
      `GET / HTTP/1.1\r\nHost: localhost\r\n${'X-Long: ' + 'a'.repeat(200_000)}\r\n\r\n`, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03']) {
      const got = await rawExchange(text, 3_000, port);
      assert.ok(got === '' || /^HTTP\/1\.[01] (400|404|405|408|411|413|415|421|403|431|505) /.test(got), `${JSON.stringify(text.slice(0, 60))} → ${JSON.stringify(got.slice(0, 100))}`);
    }
  }
});

test('a sender that never ends its header is cut off, and others are served meanwhile', { timeout: 120_000 }, async (t) => {
  const began = Date.now();
  const slow = Array.from({ length: 200 }, () => new Promise((ok) => {
    const socket = net.connect(server.ports.otlp_http, '127.0.0.1');
    socket.write('POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n');
    const drip = setInterval(() => socket.write(`X-${hex(2)}: a\r\n`), 1000);
    const end = () => { clearInterval(drip); ok(Date.now() - began); };
    socket.on('close', end);
    socket.on('error', () => {});
  }));
  for (let i = 0; i < 20; ++i) assert.equal((await post(server, '/v1/traces', JSON_TYPE, JSON.stringify(sample.traces()))).status, 200);
  const ended = await Promise.all(slow);
  t.diagnostic(`cut off after ${Math.round(Math.max(...ended) / 1000)} s`);
  assert.ok(Math.max(...ended) < 60_000);
});

test('chunked bodies are read whole, and one that breaks off is stored not at all', async () => {
  const body = JSON.stringify(traces('chunked', [span(), span()]));
  const answer = await new Promise((ok, fail) => {
    const sent = http.request(`${server.otlp}/v1/traces`, { method: 'POST', headers: { 'content-type': JSON_TYPE, 'transfer-encoding': 'chunked' } }, (response) => { response.resume(); ok(response.statusCode); });
    sent.on('error', fail);
    for (let at = 0; at < body.length; at += 7) sent.write(body.slice(at, at + 7));
    sent.end();
  });
  assert.equal(answer, 200);
  const broken = JSON.stringify(traces('broken-off', [span()]));
  await new Promise((ok) => {
    const socket = net.connect(server.ports.otlp_http, '127.0.0.1', () => {
      socket.write(`POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${broken.length.toString(16)}\r\n${broken}\r\n`, () => { socket.destroy(); ok(); });
    });
  });
  const senders = (await server.settled()).map((line) => line.sender);
  assert.ok(senders.includes('chunked'));
  assert.ok(!senders.includes('broken-off'), 'a request without an end was taken');
});

test('gRPC: what cannot be read is INVALID_ARGUMENT, too large RESOURCE_EXHAUSTED, another method UNIMPLEMENTED', async () => {
  const client = new grpc.Client(`127.0.0.1:${server.ports.otlp_grpc}`, grpc.credentials.createInsecure());
  const call = (method, body) => new Promise((ok) => client.makeUnaryRequest(`/opentelemetry.proto.collector.${method}`, (bytes) => bytes, (bytes) => bytes, body, (error) => ok(error ? error.code : 0)));
  try {
    assert.equal(await call('trace.v1.TraceService/Export', protobuf(sample.traces())), 0);
    assert.equal(await call('trace.v1.TraceService/Export', Buffer.from('ffff', 'hex')), grpc.status.INVALID_ARGUMENT);
    assert.equal(await call('logs.v1.LogsService/Export', protobuf(sample.logs()).subarray(0, 20)), grpc.status.INVALID_ARGUMENT);
    assert.equal(await call('trace.v1.TraceService/Export', Buffer.alloc(BODY_MAX + 10)), grpc.status.RESOURCE_EXHAUSTED);
    assert.equal(await call('trace.v1.TraceService/Nothing', Buffer.alloc(0)), grpc.status.UNIMPLEMENTED);
  } finally {
    client.close();
  }
});

test('10,000 tiny requests and 2,000 connections leave no memory behind', { timeout: 300_000 }, async (t) => {
  const burst = async (count) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
    let next = 0;
    await Promise.all(Array.from({ length: 16 }, async () => {
      while (next++ < count) {
        const { status } = await request(`${server.otlp}/v1/traces`, { headers: { 'content-type': JSON_TYPE }, body: JSON.stringify(traces('tiny', [span()])), agent });
        assert.equal(status, 200);
      }
    }));
    agent.destroy();
  };
  await burst(1_000);  // what is kept for good is allocated now
  await server.settled();
  const start = server.residentKiB();
  await burst(10_000);
  for (let i = 0; i < 2_000; i += 100) {
    await Promise.all(Array.from({ length: 100 }, () => rawExchange('GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')));
  }
  await server.settled();
  const grown = server.residentKiB() - start;
  t.diagnostic(`${start} KiB, grown by ${grown} KiB`);
  // The keys of the requests, against repeats, are about 100 bytes each.
  assert.ok(grown < 48 * 1024, `grown by ${grown} KiB`);
});
