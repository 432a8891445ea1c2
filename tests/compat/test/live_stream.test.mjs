// The live stream of domain events, as a browser would read it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startServer } from '../server.mjs';

let server;
before(async () => { server = await startServer(); });
after(() => server?.stop());

test('what happens to runs is seen as it happens', async () => {
  const abort = new AbortController();
  const stream = await fetch(`${server.base}/api/v1/stream?topics=run`, { signal: abort.signal });
  assert.equal(stream.headers.get('content-type'), 'text/event-stream');
  const seen = (async () => {
    let text = '';
    for await (const piece of stream.body.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (text.includes('event: run.enqueued')) return text;
    }
    return text;
  })();
  await server.json('/api/v1/runs', {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ workflow: 'watched', client_id: 'acme' }) });
  const text = await seen;
  abort.abort();
  assert.match(text, /id: \d+\.\d+\nevent: run\.[a-z_]+\ndata: \{"id":"/);
});
