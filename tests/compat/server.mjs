// The real server for a test: started on ports of its own and a scratch folder, stopped and removed afterwards.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const root = resolve(import.meta.dirname, '../..');
const binary = process.env.FETTLE_BINARY ?? join(root, 'build/release/bin/fettle');
const START_MS = 20_000;

// Waits until `probe` gives something, or fails with what was awaited.
export async function until(what, probe, ms = 20_000) {
  const end = Date.now() + ms;
  let last;
  for (;;) {
    try {
      const got = await probe();
      if (got) return got;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`gave up waiting for ${what}${last ? `: ${last.message}` : ''}`);
    await new Promise((ok) => setTimeout(ok, 50));
  }
}

export async function startServer({ args = [], config, dev = true } = {}) {
  const data = mkdtempSync(join(tmpdir(), 'fettle-compat-'));
  const all = ['serve', '--data', data, '--http', '127.0.0.1:0', '--otlp-http', '127.0.0.1:0', '--otlp-grpc', '127.0.0.1:0', ...args];
  if (dev) all.push('--dev');
  if (config) {
    writeFileSync(join(data, 'config.yaml'), config);
    all.push('--config', join(data, 'config.yaml'));
  }
  const child = spawn(binary, all, { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  let printed = '';
  child.stdout.on('data', (chunk) => { printed = (printed + chunk).slice(-20_000); });
  child.stderr.on('data', (chunk) => { log = (log + chunk).slice(-20_000); });
  const exited = new Promise((ok) => child.once('exit', (code, signal) => ok({ code, signal })));
  const portsFile = join(data, 'ports.json');
  try {
    await until('ports.json', () => {
      if (child.exitCode !== null) throw new Error(`the server ended: ${log}`);
      return existsSync(portsFile);
    }, START_MS);
    const ports = JSON.parse(readFileSync(portsFile, 'utf8'));
    const base = `http://127.0.0.1:${ports.http}`;
    await until('ready', async () => (await fetch(`${base}/health/ready`)).ok, START_MS);
    const json = async (path, options) => {
      const response = await fetch(base + path, options);
      const body = await response.json();
      if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(body)}`);
      return body;
    };
    return {
      base, ports, data, child, json,
      otlpHttp: `http://127.0.0.1:${ports.otlp_http}`,
      otlpGrpc: `http://127.0.0.1:${ports.otlp_grpc}`,
      log: () => log,
      printed: () => printed,
      sql: (query, headers = {}) => json('/api/v1/sql', {
        method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ query }) }),
      async stop({ keep = false } = {}) {
        if (child.exitCode === null) child.kill('SIGTERM');
        const end = await exited;
        if (!keep) rmSync(data, { recursive: true, force: true });
        return end;
      },
    };
  } catch (error) {
    child.kill('SIGKILL');
    rmSync(data, { recursive: true, force: true });
    throw new Error(`${error.message}\n${log}`);
  }
}
