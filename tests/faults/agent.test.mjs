// kill -9 of servers and workers at random moments while agents publish on a platform that counts what became visible:
// every post once, no run lost, nothing left in doubt without being listed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
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

test(`an agent's ${KILLS * RUNS_BETWEEN_KILLS} posts are visible once each, whoever is killed ${KILLS} times`, { timeout: 3_600_000 }, async (t) => {
  const server = new Fettle({ http: `127.0.0.1:${await freePort()}` });
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

  const asked = [];
  const killed = { servers: 0, workers: 0 };
  for (let kill = 0; kill < KILLS; ++kill) {
    for (let i = 0; i < RUNS_BETWEEN_KILLS; ++i) {
      const key = `post-${kill}-${i}`;
      // Its own answer may be lost with the server: the same key again is the same run.
      asked.push(client.enqueue({ workflow: 'publish', clientId: 'acme', platform: 'fake', payload: { key }, maxRetries: 200, idempotencyKey: key }));
    }
    await pick(400);
    if (kill % 4 === 3) {
      await server.kill();
      killed.servers += 1;
      await pick(200);
      await server.start();
    } else {
      const i = Math.floor(Math.random() * WORKERS);
      workers[i].child.kill('SIGKILL');
      await workers[i].exited;
      killed.workers += 1;
      startWorker(i);
    }
  }
  const runs = await Promise.all(asked);
  assert.equal(new Set(runs.map((run) => run.runId)).size, KILLS * RUNS_BETWEEN_KILLS);

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
  t.diagnostic(`${killed.servers} servers and ${killed.workers} workers killed; ${JSON.stringify(states)}; visible: ${counts.length} posts, ${counts.filter((n) => n > 1).length} more than once`);
  assert.deepEqual(states, { succeeded: runs.length });
  assert.deepEqual([...platform.visible].filter(([, n]) => n !== 1), [], 'posts that are visible more than once');
  assert.equal(platform.visible.size, runs.length, 'posts that never became visible');
  const { items: doubtful } = await server.json('/api/v1/side-effects?to_check=true');
  assert.deepEqual(doubtful, [], 'effects in doubt although their runs succeeded');
  await client.close();
});
