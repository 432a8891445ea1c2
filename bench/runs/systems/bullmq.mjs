// BullMQ on Redis.
import { Queue, Worker } from 'bullmq';
import { startRedis } from '../servers.mjs';

export const start = startRedis;

export async function open(address) {
  const { hostname, port } = new URL(address);
  const connection = { host: hostname, port: Number(port), maxRetriesPerRequest: null };
  const queue = new Queue('bench', { connection });
  await queue.waitUntilReady();
  let worker;
  return {
    enqueue: (payload) => queue.add('job', payload),
    bulk: (payloads) => queue.addBulk(payloads.map((data) => ({ name: 'job', data }))),
    async work(handler, concurrency, completed) {
      worker = new Worker('bench', async (job) => handler(job.data), { connection, concurrency });
      worker.on('completed', () => completed(1));
      worker.on('error', () => {});
      await worker.waitUntilReady();
    },
    async close() {
      await worker?.close(true);
      await queue.close();
    },
  };
}
