// graphile-worker on PostgreSQL, with its local queue and batched completion.
import { EventEmitter } from 'node:events';
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import { Pool } from 'pg';
import { startPostgres } from '../servers.mjs';

export const start = startPostgres;

const POOL = 50;
const LOCAL_QUEUE = 500;

export async function open(address) {
  const pgPool = new Pool({ connectionString: address, max: POOL });
  pgPool.on('error', () => {});
  pgPool.on('connect', (client) => client.on('error', () => {}));
  const logger = new Logger(() => () => {});
  const utils = await makeWorkerUtils({ pgPool, logger });
  await utils.migrate();
  let runner;
  return {
    enqueue: (payload) => utils.addJob('bench', payload),
    bulk: (payloads) => utils.addJobs(payloads.map((payload) => ({ identifier: 'bench', payload }))),
    async work(handler, concurrency, completed) {
      const events = new EventEmitter();
      events.on('job:complete', () => completed(1));
      const preset = { worker: { localQueue: { size: LOCAL_QUEUE }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } };
      const taskList = { bench: async (payload) => handler(payload) };
      runner = await run({ pgPool, logger, events, concurrency, noHandleSignals: true, preset, taskList });
    },
    async close() {
      await runner?.stop().catch(() => {});
      await utils.release();
      await pgPool.end();
    },
  };
}
