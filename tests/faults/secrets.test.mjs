// A secret in every kind of field, over every way in: found nowhere afterwards, neither on the disk nor in an answer nor
// in the server's log. The store compresses what it writes, so every string is also read back.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Fettle, JSON_TYPE, NDJSON_TYPE, PROTOBUF_TYPE, any, attributes, hex, logs, metrics, nanos, post, protobuf, span, traces } from './harness.mjs';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', MIXED = `${LETTERS}abcdefghijklmnopqrstuvwxyz0123456789`;
const random = (count, from = MIXED) => Array.from({ length: count }, () => from[randomInt(from.length)]).join('');
const FORMS = {
  github: (core) => `ghp_${core}${random(36 - core.length)}`,
  openai: (core) => `sk-proj-${core}${random(48 - core.length)}`,
  anthropic: (core) => `sk-ant-api03-${core}${random(93 - core.length)}AA`,
  aws: (core) => `AKIA${core.toUpperCase().slice(0, 16)}`,
  bearer: (core) => `Authorization: Bearer ${core}${random(20)}`,
  url: (core) => `postgres://app:${core}@db.internal:5432/app`,
  jwt: (core) => `eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.${core}${random(27)}`,
};

// Plants one secret a call and remembers where. What is looked for is the part that nobody could have stored by chance.
class Garden {
  planted = new Map();  // core → field

  plant(field, form) {
    const forms = Object.keys(FORMS);
    const kind = form ?? forms[this.planted.size % forms.length];
    const core = random(16, kind === 'aws' ? LETTERS : MIXED);
    this.planted.set(core, `${field} (${kind})`);
    return FORMS[kind](core);
  }
  assertAbsent(text, where) {
    const found = [...this.planted].filter(([core]) => text.includes(core) || text.includes(Buffer.from(core).toString('base64').slice(0, 20)));
    assert.deepEqual(found.map(([, field]) => field), [], `found in ${where}`);
  }
  // Nothing of it in any file below `folder`.
  assertAbsentOnDisk(folder, patterns, where) {
    writeFileSync(patterns, [...this.planted.keys()].join('\n') + '\n');
    const grep = spawnSync('grep', ['-raohF', '-f', patterns, '--', folder], { encoding: 'utf8', maxBuffer: 1 << 28 });
    const found = [...new Set(grep.stdout.split('\n').filter(Boolean))].map((core) => this.planted.get(core));
    assert.deepEqual(found, [], `on the disk ${where}`);
    assert.equal(grep.status, 1, grep.stderr);
  }
}

const MAIL = 'anna.fischer@example.com';

function requests(garden, way) {
  const p = (field, form) => garden.plant(`${way} ${field}`, form);
  const around = { resource: { 'app.note': p('resource attribute'), [p('resource key', 'github')]: 'x' }, scope: { name: p('scope name'), version: p('scope version'), attributes: attributes({ s: p('scope attribute') }) } };
  const many = (field) => ({
    plain: `before ${p(`${field} value`)} after`, [p(`${field} key`, 'github')]: 1, [p(`${field} key`, 'openai')]: 'x', nested: { deep: { deeper: p(`${field} nested value`), [p(`${field} nested key`, 'github')]: true } },
    list: ['a', p(`${field} list`), [p(`${field} list in list`)]], mixed: [{ in: p(`${field} map in list`) }], password: random(9) + p(`${field} by its name`, 'github'),
    bytes: Buffer.from(p(`${field} bytes`)), 'baggage.user': p(`${field} baggage`), 'http.request.header.authorization': [p(`${field} header`, 'bearer')],
    'url.full': `https://x.example/cb?access_token=${p(`${field} query`, 'github')}&a=1`, mail: `to ${MAIL} now`, client_id: p(`${field} identifier`, 'github'), 'db.query.text': `SELECT '${p(`${field} SQL`)}'`,
    'gen_ai.operation.name': 'chat', 'gen_ai.request.model': p(`${field} model`, 'openai'), 'gen_ai.provider.name': p(`${field} provider`, 'openai'), 'gen_ai.usage.input_tokens': 5,
  });
  const spans = [span({
    name: `call ${p('span name')}`, traceState: `vendor=${p('trace state', 'github')}`, attributes: attributes(many('span attribute')), status: { code: 2, message: `failed with ${p('status message')}` },
    events: [{ timeUnixNano: nanos(), name: p('event name'), attributes: attributes(many('event attribute')) }, { timeUnixNano: nanos(), name: 'exception', attributes: attributes({ 'exception.message': p('exception message'), 'exception.stacktrace': `at x\n  at ${p('stack trace')}\n` }) }],
    links: [{ traceId: hex(16), spanId: hex(8), traceState: `v=${p('link trace state', 'github')}`, attributes: attributes(many('link attribute')) }],
  })];
  const records = [
    { timeUnixNano: nanos(), severityNumber: 9, severityText: p('severity text', 'github'), body: any(`text ${p('log body')} ${MAIL}`), attributes: attributes(many('log attribute')), eventName: p('log event name') },
    { timeUnixNano: nanos(), severityNumber: 9, body: any({ a: p('structured body'), list: [p('list in body'), { b: p('map in list in body') }], [p('key in body', 'github')]: 1 }), attributes: [] },
    { timeUnixNano: nanos(), severityNumber: 9, body: any(Buffer.from(p('bytes body'))), attributes: attributes({ trace_id: p('foreign trace id', 'github') }) },
  ];
  const point = (field) => ({ timeUnixNano: nanos(), asDouble: 1, attributes: attributes({ lane: p(`${field} label`), [p(`${field} label key`, 'github')]: 'x' }),
    exemplars: [{ timeUnixNano: nanos(), asDouble: 1, filteredAttributes: attributes({ e: p(`${field} exemplar`), [p(`${field} exemplar key`, 'github')]: 1 }) }] });
  const points = [{ name: `m.${p('metric name', 'github')}`, description: p('metric description'), unit: p('metric unit', 'github'), gauge: { dataPoints: [point('gauge')] }, metadata: attributes({ m: p('metric metadata') }) }];
  const service = `service ${p('service name', 'github')}`;
  return { traces: traces(service, spans, around), logs: logs(service, records, around), metrics: metrics(service, points, around) };
}

function lines(garden) {
  const p = (field, form) => garden.plant(`NDJSON ${field}`, form);
  return [
    JSON.stringify({ level: 30, time: Date.now(), pid: 1, hostname: p('pino host'), name: p('pino name', 'github'), msg: `said ${p('pino msg')} ${MAIL}`, err: { type: p('error type'), message: p('error message'), stack: `E\n ${p('error stack')}` }, req: { method: 'GET', url: `/x?token=${p('url', 'github')}`, headers: { authorization: p('request header', 'bearer'), cookie: `session=${p('cookie', 'github')}` } } }),
    JSON.stringify({ event: p('structlog event'), timestamp: new Date().toISOString(), level: 'info', logger: p('logger', 'github'), exception: `Traceback\n ${p('exception')}` }),
    JSON.stringify({ log: JSON.stringify({ msg: `inner ${p('docker inner message')}`, [p('docker inner key', 'github')]: p('docker inner value') }) + '\n', stream: 'stdout', time: new Date().toISOString() }),
    JSON.stringify({ message: p('message'), severity: p('severity', 'github'), trace_id: p('trace id', 'github'), run_id: p('identifier', 'github'), nested: { a: [{ b: p('nested value') }], [p('nested key', 'github')]: 1 } }),
    `plain text with ${p('plain text')}`, `{"msg":"cut ${p('broken JSON')}`, JSON.stringify([p('array line')]), JSON.stringify(p('string line')),
    `${new Date().toISOString()} stdout F cri ${p('CRI line')}`,
  ].join('\n') + '\n';
}

test('planted secrets are found nowhere, e-mail addresses only masked', { timeout: 300_000 }, async (t) => {
  const garden = new Garden();
  const server = new Fettle();
  t.after(() => server.dispose());
  await server.start();
  const patterns = join(server.folder, 'patterns');

  // First with the engine held, so that everything is seen in the spool too.
  await server.killEngine('SIGSTOP');
  for (const [way, type, encode] of [['JSON', JSON_TYPE, JSON.stringify], ['protobuf', PROTOBUF_TYPE, protobuf]]) {
    for (const [signal, body] of Object.entries(requests(garden, way))) {
      const answer = await post(server, `/v1/${signal}`, type, encode(body));
      assert.equal(answer.status, 200, answer.body.toString());
      assert.equal(JSON.parse(type === JSON_TYPE ? answer.body : '{}').partialSuccess, undefined, answer.body.toString());
    }
  }
  const taken = await post(server, `/api/v1/ingest/logs?service=${encodeURIComponent(garden.plant('NDJSON ?service', 'github'))}&container=${encodeURIComponent(garden.plant('NDJSON ?container', 'github'))}`, NDJSON_TYPE, lines(garden));
  assert.equal(taken.status, 200, taken.body.toString());
  const whole = await post(server, '/api/v1/ingest/logs', JSON_TYPE, JSON.stringify([{ msg: garden.plant('JSON array of lines') }]));
  assert.equal(whole.status, 200, whole.body.toString());
  // Refusals must not repeat what they refuse.
  for (const [type, body] of [[JSON_TYPE, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"${garden.plant('refused JSON', 'github')}"}]}]}]}`], [JSON_TYPE, `{"${garden.plant('refused key', 'github')}":`], [PROTOBUF_TYPE, Buffer.concat([Buffer.from([0x0a, 0xff]), Buffer.from(garden.plant('refused protobuf', 'github'))])]]) {
    const answer = await post(server, '/v1/traces', type, body);
    assert.equal(answer.status, 400);
    garden.assertAbsent(answer.body.toString('latin1'), 'a refusal');
  }
  garden.assertAbsentOnDisk(server.data, patterns, 'while it was in the spool');
  await server.killEngine('SIGCONT');
  await server.settled();
  garden.assertAbsentOnDisk(server.data, patterns, 'while the server runs');

  // Every string that can be read.
  let text = '';
  const read = async (path, options = {}) => {
    const answer = await fetch(server.base + path, options);
    const body = await answer.text();
    assert.ok(answer.ok, `${path}: ${body.slice(0, 300)}`);
    garden.assertAbsent(body, path);
    text += body;
    return body;
  };
  const spans = JSON.parse(await read('/api/v1/spans?limit=100')).spans;
  assert.equal(spans.length, 2);
  assert.equal(spans[0].events.length, 2);
  assert.equal(spans[0].links.length, 1);
  const records = JSON.parse(await read('/api/v1/logs?limit=100')).logs;
  assert.ok(records.length >= 14, `${records.length} records`);
  for (const one of spans) {
    await read(`/api/v1/traces/${one.trace_id}`);
    await read(`/api/v1/traces/${one.trace_id}/outline`);
    for (const value of Object.values(one.ids)) await read(`/api/v1/resolve?id=${encodeURIComponent(value)}`);
  }
  for (const path of ['/api/v1/logs/histogram', '/api/v1/ingest/balance', '/api/v1/ingest/status', '/metrics', '/health']) await read(path);
  for (const table of ['spans', 'logs', 'metrics', 'events', 'llm_calls']) {
    const rows = JSON.parse(await read('/api/v1/sql', { method: 'POST', headers: { 'content-type': JSON_TYPE }, body: JSON.stringify({ query: `SELECT * FROM ${table}` }) })).rows;
    if (table !== 'events') assert.ok(rows.length >= 2, `${rows.length} rows in ${table}`);
  }
  assert.ok(!text.includes(MAIL) && !text.includes('anna.fischer'), 'the address was found');
  assert.ok(text.includes('a***@example.com'), 'the address is not there masked');

  assert.deepEqual(await server.terminate(), { code: 0, signal: null });
  garden.assertAbsentOnDisk(server.data, patterns, 'after the server has ended');
  garden.assertAbsent(server.log(), "the server's log");
  assert.ok(!server.log().includes(MAIL));
  assert.equal(spawnSync('grep', ['-rlaF', '--', 'anna.fischer', server.data], { encoding: 'utf8' }).stdout, '');
  t.diagnostic(`${garden.planted.size} secrets planted`);
});
