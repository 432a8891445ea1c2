// The TypeScript SDK and its example against the real server.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { root, startServer, until } from '../server.mjs';

let server;
before(async () => { server = await startServer(); });
after(() => server?.stop());

// Runs a program to its end against the server.
function program(args, env = {}) {
  const { NODE_TEST_CONTEXT: _outer, ...clean } = process.env;  // a test run of its own
  const child = spawn(process.execPath, args, { cwd: root, env: { ...clean, FETTLE_URL: server.base, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '', errors = '';
  child.stdout.on('data', (chunk) => { out += chunk; });
  child.stderr.on('data', (chunk) => { errors += chunk; });
  return new Promise((resolve) => child.once('exit', (code) => resolve({ code, out, errors })));
}

test('what the SDK and a server agree on holds', async () => {
  const { code, out, errors } = await program(['--test', join(root, 'sdk/typescript/test/contract.test.ts')]);
  assert.equal(code, 0, out + errors);
});

test('a lead whose CRM never answers is tried four times at its last step, and is a dead letter with its cost', async () => {
  const { code, out, errors } = await program([join(root, 'examples/leads/leads.mjs')]);
  assert.equal(code, 0, errors);
  const lines = out.trim().split('\n');
  const completed = lines.filter((line) => line.includes('"step_completed"'));
  const failed = lines.filter((line) => line.includes('"step_failed"'));
  assert.deepEqual(completed.map((line) => JSON.parse(line).stepName), ['parseEmail', 'enrichCompany', 'scoreLead']);
  assert.deepEqual(failed.map((line) => JSON.parse(line).retryCount), [0, 1, 2, 3]);
  assert.match(completed[0], /^\{"level":"info","requestId":"req_[^"]+","runId":"run_[^"]+","stepId":1,"stepName":"parseEmail","duration":\d+,"tokens":156,"costUsd":0\.0004,"action":"step_completed"\}$/);
  assert.match(failed[3], /^\{"level":"error","requestId":"req_[^"]+","runId":"run_[^"]+","stepId":4,"stepName":"createCRMRecord","duration":\d+,"retryCount":3,"error":"API_TIMEOUT: Connection timeout after 5s","action":"step_failed"\}$/);
  const run = await server.json(`/api/v1/runs/${JSON.parse(failed[0]).runId}`);
  assert.deepEqual([run.state, run.retry_count, run.max_retries, run.tokens], ['dead', 3, 3, 556]);
  assert.equal(run.last_error.code, 'API_TIMEOUT');
  // What the ledger did is on the run's timeline, in order.
  const story = await until('the end of the story', async () => {
    const { items } = await server.json(`/api/v1/journeys/${run.run_id}?items=event`);
    const names = items.map((item) => item.name);
    return names.includes('run.dead_lettered') && names;
  });
  assert.deepEqual(story.filter((name) => name.startsWith('run.')).slice(0, 2), ['run.enqueued', 'run.started']);
  assert.equal(story.filter((name) => name === 'run.retry_scheduled').length, 3);
  assert.deepEqual(run.steps.map((step) => [step.name, step.status]), [
    ['parseEmail', 'completed'], ['enrichCompany', 'completed'], ['scoreLead', 'completed'], ['createCRMRecord', 'failed'],
  ]);
});

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

test('a CRM that recovers in time ends in success, the first three steps run once', async () => {
  const { code, out, errors } = await program([join(root, 'examples/leads/leads.mjs')], { CRM_FAILURES: '2' });
  assert.equal(code, 0, errors);
  assert.match(errors, /"state":"succeeded","retry_count":2/);
  assert.equal(out.split('"step_completed"').length - 1, 4);
});
