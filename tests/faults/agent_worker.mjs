// A scripted agent in a process of its own: writes a post, publishes it on a platform, thanks. It may be killed anywhere.
import { Fettle, Performed } from '../../sdk/typescript/dist/index.js';

const [, , url, platform] = process.argv;
const fettle = new Fettle({ url });

async function publish(key) {
  const response = await fetch(`${platform}/posts/${key}`, { method: 'POST' });
  if (!response.ok) throw new Error(`the platform answered ${response.status}`);
  const { url: at } = await response.json();
  return new Performed({ at }, { url: at });
}

// What can be seen from outside is the truth, whatever became of the answer.
async function look(key) {
  const response = await fetch(`${platform}/posts/${key}`);
  const { visible, url: at } = await response.json();
  return visible > 0 ? { visible: true, proof: { url: at }, result: { at } } : { visible: false };
}

const worker = fettle.worker({
  concurrency: 8,
  workflows: {
    publish: async (run) => {
      const { key } = run.payload;
      const text = await run.step('write', () => `post ${key}`);
      const posted = await run.step('post', () =>
        run.sideEffect({ action: 'publish', target: key, payload: text }, () => publish(key), () => look(key)));
      await run.step('thank', () => posted.result);
      return posted.result;
    },
  },
});
await worker.start();
process.once('SIGTERM', () => worker.stop().then(() => fettle.close()));
