// Who is let in: pages of other origins, tokens of other workspaces, a server that is told to stop while it is busy.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Fettle, JSON_TYPE, Load, any, attributes, logs, nanos, post, request, span, traces, until } from './harness.mjs';

test('a development server answers no foreign host or origin and takes nothing that a page could send', async (t) => {
  const server = new Fettle();
  t.after(() => server.dispose());
  await server.start();
  assert.deepEqual(Object.keys(server.ports).sort(), ['http', 'otlp_grpc', 'otlp_http']);
  for (const port of Object.values(server.ports)) assert.ok(Number.isInteger(port) && port > 0);
  const query = JSON.stringify({ query: 'SELECT 1' });
  const status = async (base, path, headers, method = 'POST') => (await request(base + path, { method, headers: { 'content-type': JSON_TYPE, ...headers }, body: method === 'POST' ? query : undefined })).status;
  for (const host of ['localhost', '127.0.0.1:7070', '[::1]']) assert.equal(await status(server.base, '/api/v1/sql', { host }), 200, host);
  for (const base of [server.base, server.otlp]) {
    for (const path of ['/api/v1/sql', '/v1/traces']) {
      if (base === server.otlp && path === '/api/v1/sql') continue;
      for (const headers of [{ host: 'evil.example' }, { host: 'localhost.evil.example' }, { host: '127.0.0.1.nip.io' }, { origin: 'https://evil.example' }, { origin: 'null' }]) {
        const got = await status(base, path, headers);
        assert.ok(got === 403 || got === 421, `${path} ${JSON.stringify(headers)}: ${got}`);
      }
      for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) assert.equal(await status(base, path, { 'content-type': type }), 415, type);
    }
  }
});

test('SIGTERM under load ends with 0 within ten seconds and loses nothing', { timeout: 120_000 }, async (t) => {
  const server = new Fettle();
  t.after(() => server.dispose());
  await server.start();
  const load = new Load(server);
  await until('a load to speak of', () => load.acknowledged.size > 1000);
  const began = Date.now();
  assert.deepEqual(await server.terminate(), { code: 0, signal: null });
  assert.ok(Date.now() - began < 10_000, `${Date.now() - began} ms`);
  assert.ok(!existsSync(join(server.data, 'ports.json')));
  await server.start();
  await load.stop();
  assert.ok(load.acknowledged.size > 1000);
  await server.settled();
  const [[rows, unique]] = await server.sql('SELECT count(), uniqExact(span_id) FROM spans');
  assert.deepEqual([Number(rows), Number(unique)], [load.acknowledged.size, load.acknowledged.size]);
});

const CONFIG = `tokens:
  - {token: acme-all, workspace: acme, scopes: [ingest, read]}
  - {token: globex-read, workspace: globex, scopes: [read]}
  - {token: globex-ingest, workspace: globex, scopes: [ingest]}
`;

test('no query and no endpoint leads from one workspace to another', { timeout: 120_000 }, async (t) => {
  const server = new Fettle({ dev: false, config: CONFIG });
  t.after(() => server.dispose());
  await server.start();
  const as = (token) => ({ authorization: `Bearer ${token}` });
  const one = span({ name: 'acme-only-span', attributes: attributes({ run_id: 'acme-only-run', 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': 'acme-only-model' }) });
  const sent = JSON.stringify(traces('acme-only-service', [one]));
  assert.equal((await post(server, '/v1/traces', JSON_TYPE, sent)).status, 401);
  assert.equal((await post(server, '/v1/traces', JSON_TYPE, sent, as('globex-read'))).status, 403);
  assert.equal((await post(server, '/v1/traces', JSON_TYPE, sent, as('acme-all'))).status, 200);
  assert.equal((await post(server, '/v1/logs', JSON_TYPE, JSON.stringify(logs('acme-only-service', [{ timeUnixNano: nanos(), body: any('acme-only-line') }])), as('acme-all'))).status, 200);
  await server.settled('acme-all');
  assert.deepEqual(await server.sql('SELECT name FROM spans', 'acme-all'), [['acme-only-span']]);

  const paths = [`/api/v1/traces/${one.traceId}`, `/api/v1/traces/${one.traceId}/outline`, '/api/v1/spans', '/api/v1/spans?run_id=acme-only-run', '/api/v1/logs', '/api/v1/logs?q=acme', '/api/v1/logs/histogram', '/api/v1/journeys/acme-only-run', '/api/v1/resolve?id=acme-only-run', '/api/v1/ingest/balance', '/api/v1/ingest/status', '/metrics'];
  for (const path of paths) {
    assert.equal((await fetch(server.base + path)).status, 401, path);
    assert.equal((await fetch(server.base + path, { headers: as('globex-ingest') })).status, 403, path);
    const answer = await fetch(server.base + path, { headers: as('globex-read') });
    const body = await answer.text();
    // What was asked for may be said back; nothing else of the other workspace may.
    assert.ok(!/acme-only-(span|line|service|model)/.test(body), `${path}: ${body}`);
  }
  const queries = [
    'SELECT * FROM spans', 'SELECT * FROM logs', 'SELECT * FROM metrics', 'SELECT * FROM llm_calls', 'SELECT * FROM events', "SELECT * FROM spans WHERE workspace = 'acme'",
    'WITH x AS (SELECT * FROM spans) SELECT * FROM x', 'SELECT (SELECT groupArray(name) FROM spans)', 'SELECT a.name FROM spans a JOIN spans b ON a.trace_id = b.trace_id', 'SELECT name FROM spans UNION ALL SELECT body FROM logs',
    'SELECT * FROM fettle.spans_hot', 'SELECT * FROM fettle.logs_hot', 'SELECT * FROM fettle.logs_kept', 'SELECT * FROM fettle.kept_traces', 'SELECT * FROM fettle.traces', 'SELECT * FROM fettle.identifiers', "SELECT * FROM merge('fettle', '.*')", "SELECT * FROM merge('.*', 'spans.*')", "SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT * FROM url('http://127.0.0.1:1/', 'CSV')",
    'SELECT * FROM numbers(3)', "SELECT * FROM remote('127.0.0.1', fettle.spans)", "SELECT * FROM cluster('default', fettle.spans)", 'SELECT * FROM system.processes', 'SELECT * FROM system.parts', 'SELECT * FROM system.tables', "SELECT name FROM spans SETTINGS log_comment = 'acme'", "SELECT name FROM spans SETTINGS log_comment = '*'",
    "SELECT name FROM (SELECT name FROM spans SETTINGS log_comment = 'acme')", "SET log_comment = 'acme'", 'SELECT 1; SELECT name FROM spans', "SELECT name FROM spans INTO OUTFILE '/tmp/fettle-faults-out'", 'SELECT name FROM spans FORMAT JSON', 'INSERT INTO logs SELECT * FROM logs', 'DROP TABLE fettle.spans_hot', 'SHOW TABLES', 'DESCRIBE TABLE spans',
    "SELECT name FROM spans -- '\n", "SELECT dictGet('a', 'b', 1)", 'SELECT count() FROM spans WHERE trace_id IN fettle.traces', 'EXPLAIN SELECT * FROM spans', "SELECT * FROM view(SELECT * FROM fettle.spans_hot SETTINGS log_comment = '*')", "SELECT file('/etc/passwd')", "SELECT name FROM loop(fettle.spans_hot)", "SELECT * FROM mergeTreeIndex('fettle', 'spans_hot')",
  ];
  for (const query of queries) {
    const answer = await fetch(`${server.base}/api/v1/sql`, { method: 'POST', headers: { 'content-type': JSON_TYPE, ...as('globex-read') }, body: JSON.stringify({ query }) });
    const body = await answer.text();
    assert.ok(answer.status < 500, `${query}: ${answer.status} ${body}`);
    assert.ok(!/acme-only|root:x:/.test(body), `${query}: ${body}`);
    if (/\b(file|url|remote|cluster|merge|system|INSERT|DROP|SET |OUTFILE|SETTINGS|loop|mergeTreeIndex)\b/.test(query)) assert.ok(answer.status >= 400 || JSON.parse(body).rows.length === 0, `${query}: ${body}`);
  }
  assert.ok(!existsSync('/tmp/fettle-faults-out'));
  assert.equal(Number((await server.sql('SELECT count() FROM spans', 'acme-all'))[0][0]), 1);
  assert.ok(!/acme-all|globex-read/.test(readFileSync(server.logFile, 'utf8')), 'a token is in the log');
});
