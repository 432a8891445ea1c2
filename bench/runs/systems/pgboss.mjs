// pg-boss on PostgreSQL, as fast as its options make it: woken by NOTIFY, fetching in batches, without pause while
// batches are full.
import { PgBoss } from 'pg-boss';
import { startPostgres } from '../servers.mjs';

export const start = startPostgres;

const POOL = 50;
const FETCHERS = 2;

export async function open(address) {
  const boss = new PgBoss({ connectionString: address, max: POOL, useListenNotify: true });
  boss.on('error', () => {});
  await boss.start();
  await boss.createQueue('bench', { notify: true });
  return {
    enqueue: (payload) => boss.send('bench', payload),
    bulk: (payloads) =>
      boss.insert(
        'bench',
        payloads.map((data) => ({ data })),
      ),
    // It tells of a batch's completion to nobody: its jobs count when the handler has had them.
    async work(handler, concurrency, completed) {
      const options = {
        localConcurrency: FETCHERS,
        batchSize: concurrency,
        pollingIntervalSeconds: 0.5,
        burstWhenBatchFull: true,
      };
      await boss.work('bench', options, async (jobs) => {
        await Promise.all(jobs.map((job) => handler(job.data)));
        completed(jobs.length);
      });
    },
    close: () => boss.stop({ graceful: false }),
  };
}
