// Durable runs side by side with three job queues, all driven by this Node on this machine, everything synchronous to
// disk: node main.mjs [--systems A,B] [--parts throughput,latency,killed] [--reps N] [--kept FILE]
//
// Each phase runs in a fresh process against a fresh server (drain against what enqueue left), one system at a time,
// all systems once per repetition; the median of the repetitions counts. With --kept a machine that is not free for
// minutes at a time is measured piece by piece: what FILE holds of earlier calls counts as well, and what this one
// measures is added to it.
import { fork } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { finish, note, report } from './report.mjs';
import { sleep, syncMs } from './servers.mjs';

const { values: options } = parseArgs({
  options: {
    systems: { type: 'string' },
    parts: { type: 'string', default: 'throughput,latency,killed' },
    reps: { type: 'string', default: '3' },
    kept: { type: 'string' },
  },
});
const PEERS = ['bullmq', 'pgboss', 'graphile'];
const SYSTEMS = [...PEERS, 'fettle', 'fettle_postgres'];
// The others wait far longer by default than a benchmark can: 15 minutes and 4 hours.
const KILLED = ['bullmq', 'fettle'];
const systems = options.systems?.split(',') ?? SYSTEMS;
const parts = options.parts.split(',');
const KILLED_MS_MAX = 90_000;

function child(system, address, phase) {
  return fork(join(import.meta.dirname, 'phase.mjs'), [system, address, phase], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

function message(process, ms = 300_000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no word from a phase')), ms);
    process.once('message', (value) => {
      clearTimeout(timer);
      resolve(value);
    });
    process.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`a phase ended with ${signal ?? code}`));
    });
  });
}

async function phase(system, address, name) {
  const process = child(system, address, name);
  const exited = new Promise((resolve) => process.once('exit', resolve));
  const { figures } = await message(process);
  await exited;
  return figures;
}

// The most memory that a server and its children have had, each at its own time. What PostgreSQL's share counts once
// for each of them, so only ours on SQLite is told.
function peakMib(pid) {
  const tasks = readdirSync(`/proc/${pid}/task`);
  const children = tasks.flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean),
  );
  const own = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0;
  return Number(own) / 1024 + children.reduce((sum, child) => sum + peakMib(child), 0);
}

async function withServer(system, body) {
  const { start } = await import(`./systems/${system}.mjs`);
  const server = await start();
  try {
    return await body(server.address);
  } finally {
    if (system === 'fettle') measured.fettle.rss.push(peakMib(server.pid));
    await server.stop();
  }
}

// Seconds from the kill of a worker in the middle of a job to the job's next start, in another worker.
async function killed(system) {
  return withServer(system, async (address) => {
    const first = child(system, address, 'hang');
    const began = message(first);
    await phase(system, address, 'one');
    await began;
    first.kill('SIGKILL');
    const at = Date.now();
    const second = child(system, address, 'hang');
    let starts = 0;
    second.on('message', () => starts++);
    try {
      const again = await message(second, KILLED_MS_MAX);
      await sleep(500);
      return { seconds: (again.began - at) / 1000, starts };
    } finally {
      second.kill('SIGKILL');
    }
  });
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const measured = Object.fromEntries(
  SYSTEMS.map((system) => [system, { enqueue: [], bulk: [], drain: [], p50: [], p99: [], killed: [], rss: [] }]),
);
if (options.kept && existsSync(options.kept)) Object.assign(measured, JSON.parse(readFileSync(options.kept, 'utf8')));

async function throughput(system) {
  const into = measured[system];
  await withServer(system, async (address) => {
    into.enqueue.push((await phase(system, address, 'enqueue')).per_s);
    const drain = await phase(system, address, 'drain');
    into.drain.push(drain.per_s);
    if (drain.done < Number(process.env.BENCH_JOBS ?? 20_000))
      note(`${system}: only ${drain.done} jobs had completed in time`);
  });
  await withServer(system, async (address) => into.bulk.push((await phase(system, address, 'bulk')).per_s));
}

async function latency(system) {
  const got = await withServer(system, (address) => phase(system, address, 'latency'));
  measured[system].p50.push(got.p50_ms);
  measured[system].p99.push(got.p99_ms);
  if (got.started !== got.total || got.twice > 0)
    note(`${system}: ${got.started} of ${got.total} started, ${got.twice} of them again, ${got.failed} refused`);
}

const version = (name) => createRequire(import.meta.url)(`${name}/package.json`).version;
note(
  `runs: ${availableParallelism()} cores, Node ${process.version}, bullmq ${version('bullmq')}, pg-boss ${version('pg-boss')}, graphile-worker ${version('graphile-worker')}; fsync before every answer`,
);
note(
  `runs: a small write and its fdatasync take ${syncMs().toFixed(2)} ms here, on an idle disk of such a machine 0.2`,
);
if (parts.includes('throughput'))
  for (let rep = 0; rep < Number(options.reps); rep++) for (const system of systems) await throughput(system);
if (parts.includes('latency')) for (const system of systems) await latency(system);
if (parts.includes('killed')) {
  for (const system of systems.filter((one) => KILLED.includes(one))) {
    const { seconds, starts } = await killed(system);
    measured[system].killed.push(seconds);
    if (starts !== 1) note(`${system}: the job of the killed worker was started ${starts} times`);
  }
}
if (options.kept) writeFileSync(options.kept, JSON.stringify(measured));

const has = (system, figure) => measured[system][figure].length > 0;
const isWhole =
  SYSTEMS.every((system) => ['enqueue', 'bulk', 'drain', 'p50'].every((figure) => has(system, figure))) &&
  KILLED.every((system) => has(system, 'killed'));
const best = (figure) => Math.max(...PEERS.map((peer) => median(measured[peer][figure])));
const wants = {
  enqueue_fettle: () => ({ atLeast: 1.5 * median(measured.bullmq.enqueue) }),
  enqueue_fettle_postgres: () => ({ atLeast: 3 * median(measured.pgboss.enqueue) }),
  bulk_fettle: () => ({ atLeast: 2 * best('bulk') }),
  drain_fettle: () => ({ atLeast: 1.5 * best('drain') }),
};
for (const figure of ['enqueue', 'bulk', 'drain']) {
  for (const system of SYSTEMS.filter((one) => has(one, figure))) {
    const want = isWhole ? wants[`${figure}_${system}`]?.() : undefined;
    report(`${figure}_${system}`, median(measured[system][figure]), 'jobs/s', want ?? {});
  }
}
for (const [figure, atMost] of [
  ['p50', 1.3],
  ['p99', 6],
]) {
  for (const system of SYSTEMS.filter((one) => has(one, figure)))
    report(`start_${figure}_${system}`, median(measured[system][figure]), 'ms', system === 'fettle' ? { atMost } : {});
}
for (const system of KILLED.filter((one) => has(one, 'killed')))
  report(
    `killed_runs_again_${system}`,
    median(measured[system].killed),
    's',
    system === 'fettle' ? { atMost: 15 } : {},
  );
if (has('fettle', 'rss')) report('rss_most_fettle', Math.max(...measured.fettle.rss), 'MiB');
process.exit(finish('runs', isWhole));
