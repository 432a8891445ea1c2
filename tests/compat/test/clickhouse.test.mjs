// The official ClickHouse client against the engine's own TCP port: what a user's existing tools see.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { ClickHouseError, createClient } from '@clickhouse/client';
import { startServer, until } from '../server.mjs';

const sha256 = (text) => createHash('sha256').update(text).digest('hex');
const freePort = () => new Promise((ok) => {
  const probe = createServer().listen(0, '127.0.0.1', () => { const { port } = probe.address(); probe.close(() => ok(port)); });
});

let server, reader, neighbour, admin, stranger;
before(async () => {
  const port = await freePort();
  server = await startServer({ dev: false, config: `
engine: {tcp: "127.0.0.1:${port}"}
tokens:
  - {token_sha256: ${sha256('send')}, workspace: acme, scopes: [ingest]}
  - {token_sha256: ${sha256('other')}, workspace: zeta, scopes: [ingest]}
  - {token_sha256: ${sha256('theirs')}, workspace: zeta, scopes: [read]}
  - {token_sha256: ${sha256('read')}, workspace: acme, scopes: [read]}
  - {token_sha256: ${sha256('admin')}, workspace: acme, scopes: [admin]}
` });
  const client = (password) => createClient({ url: `http://127.0.0.1:${port}`, username: 'fettle', password, database: 'fettle' });
  reader = client('read');
  neighbour = client('theirs');
  admin = client('admin');
  stranger = client('wrong');
  const post = (token, word) => fetch(`${server.base}/api/v1/ingest/logs`, {
    method: 'POST', headers: { 'content-type': 'application/x-ndjson', authorization: `Bearer ${token}` }, body: `{"msg":"${word}","service":"web","key_of_${word}":"x"}\n` });
  assert.equal((await post('send', 'ours')).status, 200);
  assert.equal((await post('other', 'theirs')).status, 200);
  // In one part, as it becomes sooner or later.
  const merge = () => new Promise((ok, failed) => request({ socketPath: `${server.data}/engine/engine.sock`, method: 'POST', path: '/?log_comment=*' },
    (answer) => { answer.resume(); answer.on('end', ok); }).on('error', failed).end('OPTIMIZE TABLE fettle.logs FINAL'));
  await until('both lines', async () => { await merge(); return (await rows(neighbour, 'SELECT body FROM logs')).length > 0; });
  await merge();
  await until('the line', async () => (await rows(reader, 'SELECT body FROM logs')).length > 0);
});
after(async () => {
  await Promise.all([reader, neighbour, admin, stranger].map((client) => client?.close()));
  await server?.stop();
});

const rows = async (client, query, more = {}) => (await client.query({ query, format: 'JSONEachRow', ...more })).json();
const refused = (promise, code) => assert.rejects(promise, (error) => error instanceof ClickHouseError && (!code || error.code === code));

test('ping, and a wrong token', async () => {
  assert.equal((await reader.ping({ select: true })).success, true);
  assert.equal((await stranger.ping({ select: true })).success, false);
});

test('a token sees the rows of its workspace alone', async () => {
  assert.deepEqual(await rows(reader, 'SELECT body FROM logs'), [{ body: 'ours' }]);
  assert.deepEqual(await rows(admin, 'SELECT body FROM logs'), [{ body: 'ours' }]);
  assert.deepEqual(await rows(reader, "SELECT body FROM logs", { clickhouse_settings: { log_comment: '*' } }), [{ body: 'ours' }]);
});

test('typed parameters, streaming and formats', async () => {
  const [got] = await rows(reader, 'SELECT {x:Array(UInt32)} AS x, {s:String} AS s', { query_params: { x: [1, 2], s: "it's\t\\ é" } });
  assert.deepEqual(got, { x: [1, 2], s: "it's\t\\ é" });
  let count = 0;
  const stream = (await admin.query({ query: 'SELECT number FROM system.numbers LIMIT 100000', format: 'JSONEachRow' })).stream();
  for await (const batch of stream) count += batch.length;
  assert.equal(count, 100_000);
  assert.equal((await (await reader.query({ query: 'SELECT 1 AS a', format: 'JSON' })).json()).data.length, 1);
});

test('errors have the right code', async () => {
  await refused(rows(reader, 'SELECT nope FROM logs'), '47');
  await refused(rows(reader, 'SELECT 1; SELECT 2'), '62');
  for (const client of [reader, admin]) {
    await refused(client.insert({ table: 'logs', values: [{ workspace: 'zeta', body: 'x' }], format: 'JSONEachRow' }), '164');
    await refused(client.command({ query: 'CREATE TABLE x (a Int8) ENGINE = Memory' }), '164');
    await refused(client.command({ query: 'DROP TABLE logs' }), '164');
    await refused(client.command({ query: "INSERT INTO FUNCTION file('x.csv') SELECT 1" }), '164');
    await refused(rows(client, "SELECT DISTINCT workspace FROM logs SETTINGS `log\\x5fcomment` = '*'"), '62');
    await refused(rows(client, 'SELECT * FROM `/etc/passwd`'));
    await refused(rows(client, "SELECT * FROM merge('fettle', 'logs')"));
    await refused(rows(client, "SELECT * FROM file('/etc/passwd', 'LineAsString')"));
    await refused(rows(client, "SELECT 1 SETTINGS log_comment = '*'"));
    await refused(rows(client, "SELECT body FROM (SELECT body FROM logs SETTINGS log_comment = '*')"));
    await refused(rows(client, "WITH x AS (SELECT body FROM logs SETTINGS `log_comment` = 'zeta') SELECT * FROM x"));
    await refused(client.command({ query: "SET log_comment = '*'", session_id: 'wide' }));
  }
});

test('nothing is told of the host or of what other workspaces keep', async () => {
  for (const query of ['SELECT * FROM system.models', 'SELECT * FROM `system`.`models`', 'SELECT * FROM system.server_settings',
    'DESCRIBE system.models', 'EXPLAIN ESTIMATE SELECT * FROM logs', 'SELECT distinctJSONPaths(attrs) FROM logs',
    'SELECT attrs APPLY(distinctJSONPaths) FROM logs', 'SELECT sleepEachRow(3) FROM logs']) {
    await refused(rows(reader, query), '164');
  }
  await refused(rows(reader, 'SELECT * FROM {t:Identifier}', { query_params: { t: 'system.models' } }), '164');
  assert.deepEqual(await rows(reader, 'SELECT name FROM system.databases'), []);
  // In the Native format a JSON column would bring along the keys of all rows it was stored with.
  const native = await (await reader.exec({ query: 'SELECT attrs FROM logs FORMAT Native' })).stream.toArray();
  const bytes = Buffer.concat(native).toString('latin1');
  assert.ok(bytes.includes('key_of_ours') && !bytes.includes('key_of_theirs'), bytes);
});

test('forty queries at once, and an abort', async () => {
  const many = await Promise.all(Array.from({ length: 40 }, (_, i) => rows(reader, `SELECT ${i} AS i`)));
  assert.ok(many.every(([row], i) => row.i === i));
  const abort = new AbortController();
  const endless = reader.query({ query: 'SELECT sum(sipHash64(number)) FROM system.numbers', abort_signal: abort.signal });
  abort.abort();
  await assert.rejects(endless);
  assert.equal((await rows(reader, 'SELECT 1 AS a'))[0].a, 1);
});
