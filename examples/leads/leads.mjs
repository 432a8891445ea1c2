// A lead arrives by mail and goes through four steps: parseEmail, enrichCompany, scoreLead, createCRMRecord. The CRM
// does not answer for the first CRM_FAILURES calls, so the last step fails with API_TIMEOUT; what was done before it is
// not done again.
import { setTimeout as pause } from 'node:timers/promises';
import { Fettle, RetryableError, pinoStepOptions } from '@fettle/sdk';
import { pino } from 'pino';

const CRM_FAILURES = Number(process.env.CRM_FAILURES ?? 4); // one more than the retries of a run: it ends as a dead letter

const fettle = new Fettle(); // FETTLE_URL, FETTLE_TOKEN
const log = pino({ ...pinoStepOptions });
let crmCalls = 0;

// Stand-ins for a language model, a company register and the CRM, each with the time and the tokens that it costs.
async function parseEmail(email, step) {
  await pause(23);
  step.usage({ tokens: 156, costUsd: 0.0004 });
  const [, name, domain] = /^From: (.+) <[^@]+@([^>]+)>/.exec(email) ?? [];
  return { name, domain };
}

async function enrichCompany({ domain }, step) {
  await pause(41);
  step.usage({ tokens: 312, costUsd: 0.0009 });
  return { company: domain.split('.')[0], employees: 120 };
}

async function scoreLead({ employees }, step) {
  await pause(12);
  step.usage({ tokens: 88, costUsd: 0.0002 });
  return employees > 100 ? 82 : 40;
}

async function createCRMRecord(record) {
  await pause(5);
  if (++crmCalls <= CRM_FAILURES) {
    throw new RetryableError('API_TIMEOUT: Connection timeout after 5s', { code: 'API_TIMEOUT' });
  }
  return { id: `crm_${crmCalls}`, url: `https://crm.example/leads/${crmCalls}`, ...record };
}

async function lead(run) {
  const person = await run.step('parseEmail', (step) => parseEmail(run.payload.email, step));
  const company = await run.step('enrichCompany', (step) => enrichCompany(person, step));
  const score = await run.step('scoreLead', (step) => scoreLead(company, step));
  return run.step('createCRMRecord', () => createCRMRecord({ ...person, ...company, score }));
}

const worker = fettle.worker({
  pool: 'leads',
  concurrency: 4,
  workflows: { lead },
  logger: log,
  onError: (error) => log.error({ action: 'worker_error', error: error.message }),
});
await worker.start();

const { runId } = await fettle.enqueue({
  workflow: 'lead',
  pool: 'leads',
  clientId: 'acme',
  requestId: `req_${Date.now().toString(36)}`,
  payload: { email: 'From: Ada Lovelace <ada@analytical.example>\n\nWe would like a quote.' },
  maxRetries: 3,
  retry: { baseMs: 200, capMs: 1_000 },
  trigger: { source: 'mail', eventKey: 'inbox' },
});
process.stderr.write(`run ${runId}: ${process.env.FETTLE_URL ?? 'http://127.0.0.1:7070'}/api/v1/runs/${runId}\n`);

const ENDED = new Set(['succeeded', 'dead', 'cancelled', 'discarded']);
for (;;) {
  const run = await fettle.get(`/api/v1/runs/${runId}`);
  if (ENDED.has(run.state ?? run.status)) {
    const ended = { state: run.state ?? run.status, retry_count: run.retry_count, failure_reason: run.failure_reason };
    process.stderr.write(`${JSON.stringify(ended)}\n`);
    break;
  }
  await pause(200);
}
await worker.stop();
await fettle.close();
