// What every SDK has to do against the real server: keep the contract, and run the lead workflow as documented.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { root, startServer, until } from './server.mjs';

// Runs a program to its end, with FETTLE_URL in its environment.
export function program([command, ...args], { cwd = root, env = {} } = {}) {
  const { NODE_TEST_CONTEXT: _outer, ...clean } = process.env;  // a test run of its own
  const child = spawn(command, args, { cwd, env: { ...clean, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '', errors = '';
  child.stdout.on('data', (chunk) => { out += chunk; });
  child.stderr.on('data', (chunk) => { errors += chunk; });
  return new Promise((resolve) => child.once('exit', (code) => resolve({ code, out, errors })));
}

const COMPLETED = /^\{"level":"info","requestId":"req_[^"]+","runId":"run_[^"]+","stepId":1,"stepName":"parseEmail","duration":\d+,"tokens":156,"costUsd":0\.0004,"action":"step_completed"\}$/;
const FAILED = /^\{"level":"error","requestId":"req_[^"]+","runId":"run_[^"]+","stepId":4,"stepName":"createCRMRecord","duration":\d+,"retryCount":3,"error":"API_TIMEOUT: Connection timeout after 5s","action":"step_failed"\}$/;

// What each SDK has a test for under this name, in the spelling of its language.
const DURABLE = [
  'a run that sleeps goes on when its time has come',
  'a run that waits for an event gets its payload',
  'an event that never comes is told to whoever waits for it',
  'an approval says who approved, with which note and changes',
  'a rejection is a decision',
  'an approval that nobody decides expires',
  'an approval is asked for once whatever becomes of the attempts',
  'a question that the server refuses is a dead letter',
  'a cancelled run stops its handler',
  'a kill switch stops a run that goes on uncounted when it is lifted',
  'a lease that was given away stops the handler that held it',
  'a worker that is stopped lets its handler finish',
  'what a stopped worker gives back is resumed behind its last step',
  'a side effect of which nobody knows is settled by looking and never repeated',
  'every option of a run reaches the server',
  'records keep what is said of a step and an audit event all that the server takes',
];
const letters = (text) => text.toLowerCase().replaceAll(/[^a-z]/g, '');

// Declares the tests of one SDK: `contract`, `durable` and `lead` are its programs, [command, ...arguments].
export function agreement({ contract, durable, lead, options = {} }) {
  let server;
  before(async () => { server = await startServer(); });
  after(() => server?.stop());
  const run = (command, env = {}) =>
    program(command, { ...options, env: { ...options.env, FETTLE_URL: server.base, ...env } });

  test('what the SDK and a server agree on holds', async () => {
    const { code, out, errors } = await run(contract);
    assert.equal(code, 0, out + errors);
  });

  test('what outlives an attempt is kept in every language', async () => {
    const { code, out, errors } = await run(durable);
    assert.equal(code, 0, out + errors);
    const told = letters(out + errors);
    for (const name of DURABLE) assert.ok(told.includes(letters(name)), `no test says: ${name}`);
  });

  test('a lead whose CRM never answers is tried four times at its last step, and is a dead letter with its cost', async () => {
    const { code, out, errors } = await run(lead);
    assert.equal(code, 0, errors);
    const lines = out.trim().split('\n');
    const completed = lines.filter((line) => line.includes('"step_completed"'));
    const failed = lines.filter((line) => line.includes('"step_failed"'));
    assert.deepEqual(completed.map((line) => JSON.parse(line).stepName), ['parseEmail', 'enrichCompany', 'scoreLead']);
    assert.deepEqual(failed.map((line) => JSON.parse(line).retryCount), [0, 1, 2, 3]);
    assert.match(completed[0], COMPLETED);
    assert.match(failed[3], FAILED);
    const dead = await server.json(`/api/v1/runs/${JSON.parse(failed[0]).runId}`);
    assert.deepEqual([dead.state, dead.retry_count, dead.max_retries, dead.tokens], ['dead', 3, 3, 556]);
    assert.ok(Math.abs(dead.cost_usd - 0.0015) < 1e-9, `cost_usd is ${dead.cost_usd}`);
    assert.equal(dead.last_error.code, 'API_TIMEOUT');
    // What the ledger did is on the run's timeline, in order.
    const story = await until('the end of the story', async () => {
      const { items } = await server.json(`/api/v1/journeys/${dead.run_id}?items=event`);
      const names = items.map((item) => item.name);
      return names.includes('run.dead_lettered') && names;
    });
    assert.deepEqual(story.filter((name) => name.startsWith('run.')).slice(0, 2), ['run.enqueued', 'run.started']);
    assert.equal(story.filter((name) => name === 'run.retry_scheduled').length, 3);
    assert.deepEqual(dead.steps.map((step) => [step.name, step.status]), [
      ['parseEmail', 'completed'], ['enrichCompany', 'completed'], ['scoreLead', 'completed'], ['createCRMRecord', 'failed'],
    ]);
  });

  test('a CRM that recovers in time ends in success, the first three steps run once', async () => {
    const { code, out, errors } = await run(lead, { CRM_FAILURES: '2' });
    assert.equal(code, 0, errors);
    assert.match(errors, /"state":"succeeded","retry_count":2/);
    assert.equal(out.split('"step_completed"').length - 1, 4);
  });
}
