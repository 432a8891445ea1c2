// One phase of one system, in a process of its own: node phase.mjs SYSTEM ADDRESS PHASE; the figures go to the parent.
import { setTimeout as sleep } from 'node:timers/promises';

const JOBS = Number(process.env.BENCH_JOBS ?? 20_000);
const IN_FLIGHT = 50;
const CONCURRENCY = 50;
const BULK = 1_000;
const PAYLOAD_BYTES = 300;
const RATE = 200; // jobs a second
const SECONDS = Number(process.env.BENCH_SECONDS ?? 20);
const WARM_UP = 50;
const DRAIN_MS_MAX = 120_000;

function payload(at) {
  const job = {
    job_id: `job_${at}`,
    client_id: `client-${at % 200}`,
    platform: 'instagram',
    lane: 'publishing',
    at: performance.now(),
    text: '',
  };
  job.text = 'x'.repeat(Math.max(0, PAYLOAD_BYTES - JSON.stringify(job).length));
  return job;
}

const perSecond = (count, begin) => (count * 1000) / (performance.now() - begin);

function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

const phases = {
  async enqueue(system) {
    const begin = performance.now();
    let next = 0;
    const lane = async () => {
      while (next < JOBS) await system.enqueue(payload(next++));
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
    return { per_s: perSecond(JOBS, begin) };
  },

  async bulk(system) {
    const begin = performance.now();
    for (let at = 0; at < JOBS; at += BULK) await system.bulk(Array.from({ length: BULK }, (_, k) => payload(at + k)));
    return { per_s: perSecond(JOBS, begin) };
  },

  // What enqueue has left behind.
  async drain(system) {
    let done = 0;
    const { promise, resolve } = Promise.withResolvers();
    const begin = performance.now();
    await system.work(
      async () => {},
      CONCURRENCY,
      (count) => {
        done += count;
        if (done >= JOBS) resolve();
      },
    );
    const giveUp = setTimeout(resolve, DRAIN_MS_MAX);
    await promise;
    clearTimeout(giveUp);
    return { per_s: perSecond(done, begin), done };
  },

  async latency(system) {
    const waits = [];
    const started = new Set();
    await system.work(
      async (job) => {
        waits.push(performance.now() - job.at);
        started.add(job.job_id);
      },
      CONCURRENCY,
      () => {},
    );
    for (let at = 0; at < WARM_UP; at++) await system.enqueue(payload(at));
    await sleep(1_500);
    waits.length = 0;
    started.clear();
    const total = RATE * SECONDS;
    const begin = performance.now();
    let failed = 0;
    for (let at = 0; at < total; at++) {
      const early = begin + (at * 1000) / RATE - performance.now();
      if (early > 0.5) await sleep(early);
      system.enqueue(payload(at)).catch(() => failed++);
    }
    for (let turn = 0; turn < 100 && started.size < total; turn++) await sleep(100);
    return {
      p50_ms: quantile(waits, 0.5),
      p99_ms: quantile(waits, 0.99),
      started: started.size,
      twice: waits.length - started.size,
      total,
      failed,
    };
  },

  // One job, for a worker that will not live to finish it.
  async one(system) {
    await system.enqueue(payload(0));
    return {};
  },
  // Says when it begins a job, and never ends it.
  async hang(system) {
    await system.work(
      async () => {
        process.send({ began: Date.now() });
        await new Promise(() => setInterval(() => {}, 1e6));
      },
      1,
      () => {},
    );
    await new Promise(() => {});
  },
};

const [name, address, phase] = process.argv.slice(2);
const system = await (await import(`./systems/${name}.mjs`)).open(address);
const figures = await phases[phase](system);
process.send({ figures, rss_mib: process.memoryUsage().rss / 2 ** 20 });
await Promise.race([system.close(), sleep(3_000)]);
process.exit(0);
