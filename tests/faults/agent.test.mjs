// kill -9 of servers, workers and the database at random moments while agents publish on a platform that counts what
// became visible: every post once, no run lost, nothing left in doubt without being listed.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Fettle as Client } from '../../sdk/typescript/dist/index.js';
import { Fettle, ROUNDS, root, sleep, until } from './harness.mjs';

const KILLS = ROUNDS * 4;
const WORKERS = 3;
const RUNS_BETWEEN_KILLS = 6;
const pick = (ms) => sleep(Math.random() * ms);

// Answers late, loses answers after having published, and fails before: as platforms do.
async function startPlatform() {
  const visible = new Map();
  const server = createServer(async (request, response) => {
    const key = request.url.split('/').at(-1);
    const url = `https://platform.example/${key}`;
    if (request.method === 'GET') return response.end(JSON.stringify({ visible: visible.get(key) ?? 0, url }));
    const luck = Math.random();
    if (luck < 0.1) return response.writeHead(503).end();
    await pick(60);
    visible.set(key, (visible.get(key) ?? 0) + 1);
    if (luck < 0.2) return request.socket.destroy();
    await pick(60);
    response.end(JSON.stringify({ url }));
  });
  await new Promise((ok) => server.listen(0, '127.0.0.1', ok));
  return { visible, url: `http://127.0.0.1:${server.address().port}`, stop: () => server.close() };
}

async function freePort() {
  const server = createServer();
  await new Promise((ok) => server.listen(0, '127.0.0.1', ok));
  const { port } = server.address();
  await new Promise((ok) => server.close(ok));
  return port;
}

// Lets workers publish while `disturb(kill, world)` does its worst `kills` times, and holds what came of it to the promise.
async function trial(t, { kills, args = [], disturb }) {
  const server = new Fettle({ http: `127.0.0.1:${await freePort()}`, args });
  const platform = await startPlatform();
  const workers = [];
  const startWorker = (i) => {
    const child = spawn(process.execPath, [join(root, 'tests/faults/agent_worker.mjs'), server.base, platform.url], { stdio: ['ignore', 'ignore', 'inherit'] });
    workers[i] = { child, exited: new Promise((ok) => child.once('exit', ok)) };
  };
  t.after(async () => {
    for (const { child } of workers) child.kill('SIGKILL');
    await server.dispose();
    platform.stop();
  });
  await server.start();
  const client = new Client({ url: server.base });
  for (let i = 0; i < WORKERS; ++i) startWorker(i);
  const killWorker = async () => {
    const i = Math.floor(Math.random() * WORKERS);
    workers[i].child.kill('SIGKILL');
    await workers[i].exited;
    startWorker(i);
  };

  const asked = [];
  for (let kill = 0; kill < kills; ++kill) {
    for (let i = 0; i < RUNS_BETWEEN_KILLS; ++i) {
      const key = `post-${kill}-${i}`;
      // The answer may be lost with the server: the same key again is the same run.
      asked.push(client.enqueue({ workflow: 'publish', clientId: 'acme', platform: 'fake', payload: { key }, maxRetries: 200, idempotencyKey: key }));
    }
    await pick(400);
    await disturb(kill, { server, killWorker });
  }
  const runs = await Promise.all(asked);
  assert.equal(new Set(runs.map((run) => run.runId)).size, kills * RUNS_BETWEEN_KILLS);

  const states = await until('the end of every run', async () => {
    const tally = {};
    for (const { runId } of runs) {
      const { state } = await server.json(`/api/v1/runs/${runId}`);
      tally[state] = (tally[state] ?? 0) + 1;
    }
    const open = ['ready', 'waiting', 'held', 'running'].reduce((sum, state) => sum + (tally[state] ?? 0), 0);
    if (open > 0) throw new Error(JSON.stringify(tally));
    return tally;
  }, 300_000);
  const counts = [...platform.visible.values()];
  t.diagnostic(`${kills} kills; ${JSON.stringify(states)}; visible: ${counts.length} posts, ${counts.filter((n) => n > 1).length} more than once`);
  assert.deepEqual(states, { succeeded: runs.length });
  assert.deepEqual([...platform.visible].filter(([, n]) => n !== 1), [], 'posts that are visible more than once');
  assert.equal(platform.visible.size, runs.length, 'posts that never became visible');
  const { items: doubtful } = await server.json('/api/v1/side-effects?to_check=true');
  assert.deepEqual(doubtful, [], 'effects in doubt although their runs succeeded');
  await client.close();
}

test(`posts are visible once each, whether servers or workers are killed, ${KILLS} times`, { timeout: 3_600_000 }, (t) =>
  trial(t, {
    kills: KILLS,
    disturb: async (kill, { server, killWorker }) => {
      if (kill % 4 !== 3) return killWorker();
      await server.kill();
      await pick(200);
      await server.start();
    },
  }));

test(`posts are visible once each, although PostgreSQL crashes ${ROUNDS} times under load`, { timeout: 3_600_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-faults-postgres-'));
  chmodSync(folder, 0o711);
  const postgres = (command) => execFileSync(join(root, 'tools/test_postgres'), [command, join(folder, 'server')]);
  postgres('start');
  t.after(() => {
    postgres('stop');
    rmSync(folder, { recursive: true, force: true });
  });
  await trial(t, {
    kills: ROUNDS * 2,
    args: ['--ledger-url', `postgresql://fettle@/postgres?host=${join(folder, 'server')}`],
    disturb: async (kill, { killWorker }) => (kill % 2 === 0 ? postgres('restart') : killWorker()),
  });
});
