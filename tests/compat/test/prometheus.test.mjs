// Debian's Prometheus scrapes /metrics, and promtool finds nothing to say about it.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startServer, until } from '../server.mjs';

let server;
before(async () => { server = await startServer(); });
after(() => server.stop());

const freePort = () => new Promise((ok) => {
  const probe = createServer().listen(0, '127.0.0.1', () => { const { port } = probe.address(); probe.close(() => ok(port)); });
});

test('promtool check metrics passes', async () => {
  const text = await (await fetch(`${server.base}/metrics`)).text();
  const check = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  assert.equal(check.status, 0, check.stdout + check.stderr);
});

test('metrics come as JSON when JSON is asked for', async () => {
  const response = await fetch(`${server.base}/metrics`, { headers: { accept: 'application/json' } });
  assert.match(response.headers.get('content-type'), /^application\/json/);
  const families = await response.json();
  assert.ok(Object.keys(families).some((name) => name.startsWith('fettle_')));
});

test('Prometheus scrapes it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-prometheus-'));
  const port = await freePort();
  writeFileSync(join(folder, 'prometheus.yml'), `global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: fettle\n  static_configs: [{targets: ['127.0.0.1:${server.ports.http}']}]\n`);
  const prometheus = spawn('prometheus', [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`], { stdio: 'ignore' });
  const ended = new Promise((ok) => prometheus.once('exit', ok));
  try {
    const answer = await until('a scrape', async () => {
      const response = await (await fetch(`http://127.0.0.1:${port}/api/v1/query?query=up`)).json();
      return response.data.result[0]?.value[1] === '1' ? response : null;
    }, 30_000);
    assert.equal(answer.data.result.length, 1);
  } finally {
    prometheus.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
});
