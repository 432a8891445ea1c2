// Kills at random moments under load: what was acknowledged is there, once, and the books close.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fettle, JSON_TYPE, Load, ROUNDS, STOP_SECONDS, post, sleep, span, traces, until } from './harness.mjs';

// Everything that the senders were told is stored can be read, once; and the books say the same.
async function assertAllThereOnce(t, server, load) {
  const books = await server.settled();
  const [[rows, unique]] = await server.sql('SELECT count(), uniqExact(span_id) FROM spans');
  const sent = load.acknowledged.size;
  t.diagnostic(`${load.requests} requests acknowledged with ${sent} spans, ${load.repeats} answers lost, ${load.refusals.length} refusals; ${rows} rows, ${unique} spans stored`);
  const stored = new Set();
  for (let after = ''; ;) {
    const page = await server.sql(`SELECT span_id FROM spans WHERE span_id > '${after}' ORDER BY span_id LIMIT 10000`);
    for (const [spanId] of page) stored.add(spanId);
    if (page.length < 10000) break;
    after = page.at(-1)[0];
  }
  const lost = [...load.acknowledged].filter((spanId) => !stored.has(spanId));
  assert.equal(lost.length, 0, `${lost.length} acknowledged spans are lost, such as ${lost[0]}`);
  assert.equal(Number(rows), Number(unique), 'spans are stored twice');
  assert.equal(Number(unique), sent, 'spans are stored that nobody sent');
  let received = 0, duplicate = 0, inStore = 0;
  for (const line of books) {
    assert.equal(line.balanced, true, JSON.stringify(line));
    assert.deepEqual(line.rejected, {}, JSON.stringify(line));
    assert.equal(line.received - line.duplicate, line.stored, JSON.stringify(line));
    received += line.received; duplicate += line.duplicate; inStore += line.stored;
  }
  assert.equal(inStore, sent, 'the books count other spans than were sent');
  assert.equal(received - duplicate, sent);
}

test(`kill -9 of the server, ${ROUNDS} times under load, loses and doubles nothing`, { timeout: 1_800_000 }, async (t) => {
  const server = new Fettle();
  t.after(() => server.dispose());
  await server.start();
  const load = new Load(server);
  for (let round = 0; round < ROUNDS; ++round) {
    await sleep(300 + Math.random() * 2200);
    const engine = server.enginePid();
    await server.kill();
    await until('the end of the engine', () => { try { process.kill(engine, 0); return false; } catch { return true; } });
    await server.start();
  }
  await sleep(500);
  await load.stop();
  assert.ok(load.requests > ROUNDS * 4, `there was hardly any load: ${load.requests} requests`);
  await assertAllThereOnce(t, server, load);
});

test(`kill -9 of the engine, ${ROUNDS} times under load, loses and doubles nothing and refuses nobody`, { timeout: 1_800_000 }, async (t) => {
  const server = new Fettle();
  t.after(() => server.dispose());
  await server.start();
  const load = new Load(server);
  for (let round = 0; round < ROUNDS; ++round) {
    await sleep(300 + Math.random() * 2200);
    const killed = await server.killEngine();
    await until('another engine', () => { const pid = server.enginePid(); return pid !== 0 && pid !== killed; }, 30_000);
  }
  await sleep(500);
  await load.stop();
  assert.deepEqual(load.refusals, []);
  assert.equal(load.repeats, 0, 'connections broke although the server was never killed');
  const { engine } = await server.json('/api/v1/ingest/status');
  assert.ok(engine.restarts >= ROUNDS, JSON.stringify(engine));
  await assertAllThereOnce(t, server, load);
});

for (const [what, stop] of Object.entries({
  'stopped (SIGSTOP)': async (server, end) => {
    while (Date.now() < end) {
      await server.killEngine('SIGSTOP');
      await sleep(500);
    }
    await server.killEngine('SIGCONT');
  },
  'killed as often as it starts': async (server, end) => {
    while (Date.now() < end) {
      await server.killEngine();
      await sleep(100);
    }
  },
})) {
  test(`an engine that is ${what} for ${STOP_SECONDS} s under load: no refusal, everything arrives`, { timeout: 600_000 }, async (t) => {
    const server = new Fettle();
    t.after(() => server.dispose());
    await server.start();
    const load = new Load(server, { pauseMs: 5 });
    await sleep(500);
    await stop(server, Date.now() + STOP_SECONDS * 1000);
    await sleep(500);
    await load.stop();
    assert.deepEqual(load.refusals, []);
    assert.equal(load.repeats, 0);
    assert.ok(load.requests > STOP_SECONDS * 4, `there was hardly any load: ${load.requests} requests`);
    await assertAllThereOnce(t, server, load);
  });
}

test('requests that are repeated after a kill are answered as before and not stored again', { timeout: 300_000 }, async (t) => {
  const server = new Fettle();
  t.after(() => server.dispose());
  await server.start();
  // Some that are in the store when the server is killed, and some that are in the spool alone.
  const make = (n) => Array.from({ length: n }, (_, i) => {
    const body = traces('repeater', [span(), i % 2 ? span() : span({ traceId: '0'.repeat(32) })]);
    return Buffer.from(JSON.stringify(body));
  });
  const send = async (body) => (await post(server, '/v1/traces', JSON_TYPE, body));
  const early = make(20);
  for (const body of early) assert.equal((await send(body)).status, 200);
  const before = await server.settled();
  await server.killEngine('SIGSTOP');
  const late = make(20);
  const answers = [];
  for (const body of late) answers.push((await send(body)).body.toString());
  await server.kill();
  await server.start();
  for (const body of early) assert.equal((await send(body)).status, 200);
  for (const [i, body] of late.entries()) {
    const again = JSON.parse((await send(body)).body);
    assert.equal(again.partialSuccess?.rejectedSpans, JSON.parse(answers[i]).partialSuccess?.rejectedSpans);
  }
  const books = await server.settled();
  const sum = (key) => books.reduce((all, line) => all + line[key], 0);
  const [[rows]] = await server.sql("SELECT count() FROM spans WHERE service_name = 'repeater'");
  const shown = JSON.stringify(books);
  for (const line of books) assert.equal(line.balanced, true, shown);
  assert.equal(sum('received'), 160, shown);
  assert.equal(sum('duplicate'), 80, shown);
  assert.equal(sum('stored'), 60, shown);
  assert.equal(Number(rows), 60);
  assert.equal(before.reduce((all, line) => all + line.stored, 0), 30);
});
