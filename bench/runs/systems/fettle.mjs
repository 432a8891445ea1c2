// Fettle through its SDK, as its README has it.
import { Fettle } from '@fettle/sdk';
import { startFettle } from '../servers.mjs';

export const start = startFettle;

export async function open(url) {
  const fettle = new Fettle({ url });
  let worker;
  return {
    enqueue: (payload) => fettle.enqueue({ workflow: 'bench', payload }),
    async bulk(payloads) {
      const results = await fettle.enqueueMany(payloads.map((payload) => ({ workflow: 'bench', payload })));
      for (const result of results) if (!result.ok) throw result.error;
    },
    // A run counts when its completion has been answered, as with the others.
    async work(handler, concurrency, completed) {
      let handled = 0;
      let settling = false;
      const settle = async () => {
        settling = true;
        for (let counted = 0; counted !== handled;) {
          await new Promise((resolve) => setImmediate(resolve)); // the handler returns, then it is reported
          const now = handled;
          await worker.settled();
          completed(now - counted);
          counted = now;
        }
        settling = false;
        handled = 0;
      };
      worker = fettle.worker({
        concurrency,
        workflows: {
          bench: async (run) => {
            await handler(run.payload);
            handled++;
            if (!settling) void settle();
          },
        },
      });
      await worker.start();
    },
    async close() {
      await worker?.stop({ graceMs: 0 });
      await fettle.close();
    },
  };
}
