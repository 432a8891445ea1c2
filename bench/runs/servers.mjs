// The servers that are measured: each on ports of its own, with its data in a scratch folder, as an unprivileged user.
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fdatasyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const START_MS = 60_000;
const STOP_MS = 20_000;

export const sleep = (ms) => new Promise((ok) => setTimeout(ok, ms));

async function until(what, child, probe) {
  for (const end = Date.now() + START_MS; Date.now() < end; await sleep(20)) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${what} ended at its start`);
    const got = await probe();
    if (got) return got;
  }
  throw new Error(`${what} did not come up`);
}

function freePort() {
  return new Promise((ok, no) => {
    const server = createServer();
    server.on('error', no);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => ok(port));
    });
  });
}

function answers(port) {
  return new Promise((ok) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      ok(true);
    });
    socket.on('error', () => ok(false));
  });
}

// Root starts a server as somebody else, as its package would; PostgreSQL refuses root anyway.
function identity(user) {
  if (process.getuid() !== 0) return {};
  const of = (flag) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' }));
  return { uid: of('-u'), gid: of('-g') };
}

// A folder that `owner` may write and nobody needs afterwards.
function scratch(name, owner) {
  const folder = mkdtempSync(join(tmpdir(), `fettle-bench-${name}-`));
  chmodSync(folder, 0o711);
  const data = join(folder, 'data');
  mkdirSync(data);
  if (owner.uid !== undefined) chownSync(data, owner.uid, owner.gid);
  return { folder, data, log: openSync(join(folder, 'log'), 'a') };
}

function running(child, folder, address) {
  const ended = new Promise((ok) => child.once('exit', ok));
  return {
    address,
    pid: child.pid,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await ended;
      clearTimeout(timer);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

// Every write is on disk before it is answered, as with the others.
export async function startRedis() {
  const owner = identity('nobody');
  const { folder, data, log } = scratch('redis', owner);
  const port = await freePort();
  const settings = [
    '--bind',
    '127.0.0.1',
    '--dir',
    data,
    '--appendonly',
    'yes',
    '--appendfsync',
    'always',
    '--save',
    '',
  ];
  const child = spawn('redis-server', ['--port', String(port), ...settings], {
    stdio: ['ignore', log, log],
    cwd: data,
    ...owner,
  });
  await until('redis-server', child, () => answers(port));
  return running(child, folder, `redis://127.0.0.1:${port}`);
}

function postgresTools() {
  const base = '/usr/lib/postgresql';
  const version = existsSync(base) ? readdirSync(base).sort((a, b) => Number(b) - Number(a))[0] : undefined;
  if (version === undefined) throw new Error('PostgreSQL is not installed');
  return join(base, version, 'bin');
}

export async function startPostgres() {
  const owner = identity('postgres');
  const { folder, data, log } = scratch('postgres', owner);
  const tools = postgresTools();
  const port = await freePort();
  const options = { stdio: ['ignore', log, log], cwd: data, ...owner };
  execFileSync(join(tools, 'initdb'), ['-D', join(data, 'db'), '-U', 'bench', '--auth=trust', '--no-sync'], options);
  const settings = ['-p', String(port), '-k', data, '-h', '127.0.0.1', '-c', 'max_connections=120'];
  const child = spawn(join(tools, 'postgres'), ['-D', join(data, 'db'), ...settings], options);
  const ready = () => {
    try {
      execFileSync(join(tools, 'pg_isready'), ['-q', '-h', '127.0.0.1', '-p', String(port)]);
      return true;
    } catch {
      return false;
    }
  };
  await until('postgres', child, ready);
  execFileSync(join(tools, 'createdb'), ['-h', '127.0.0.1', '-p', String(port), '-U', 'bench', 'bench']);
  return running(child, folder, `postgres://bench@127.0.0.1:${port}/bench`);
}

// What every durable answer here waits for: the middle of 300 small writes and their fdatasync, in milliseconds.
export function syncMs() {
  const { folder, data } = scratch('sync', {});
  const file = openSync(join(data, 'file'), 'w');
  const took = Array.from({ length: 300 }, () => {
    const begin = performance.now();
    writeSync(file, Buffer.alloc(400));
    fdatasyncSync(file);
    return performance.now() - begin;
  });
  closeSync(file);
  rmSync(folder, { recursive: true, force: true });
  return took.sort((a, b) => a - b)[took.length >> 1];
}

export async function startFettle(flags = []) {
  const { folder, data, log } = scratch('fettle', {});
  const listeners = ['--http', '--otlp-http', '--otlp-grpc'].flatMap((flag) => [flag, '127.0.0.1:0']);
  const binary = process.env.FETTLE_BINARY ?? join(root, 'build/release/bin/fettle');
  const child = spawn(binary, ['serve', '--dev', '--data', data, ...listeners, ...flags], {
    stdio: ['ignore', log, log],
  });
  const file = join(data, 'ports.json');
  const base = await until('fettle', child, async () => {
    if (!existsSync(file)) return undefined;
    const address = `http://127.0.0.1:${JSON.parse(readFileSync(file, 'utf8')).http}`;
    return (await fetch(`${address}/health/ready`).then(
      (answer) => answer.ok,
      () => false,
    ))
      ? address
      : undefined;
  });
  return running(child, folder, base);
}

// With its ledger in a PostgreSQL of its own.
export async function startFettleOnPostgres() {
  const postgres = await startPostgres();
  try {
    const fettle = await startFettle(['--ledger-url', postgres.address]);
    return {
      ...fettle,
      async stop() {
        await fettle.stop();
        await postgres.stop();
      },
    };
  } catch (error) {
    await postgres.stop();
    throw error;
  }
}
