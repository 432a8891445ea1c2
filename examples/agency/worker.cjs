// The queue worker: takes jobs, runs the agent's episode and retries what may pass on a second try.
'use strict';
const { start, api } = require('./lib/telemetry.cjs');
const telemetry = start('agency-worker');
const { randomUUID } = require('node:crypto');
const { call, address, sleep } = require('./lib/http.cjs');
const { span, log, meter, withIdentifiers } = telemetry;

const completed = meter.createCounter('jobs_completed_total');
const failures = meter.createCounter('job_failures_total');
const retries = meter.createCounter('episode_retries_total');
const escalations = meter.createCounter('episode_escalations_total');
const duration = meter.createHistogram('job_end_to_end_duration_ms', { unit: 'ms' });
const RETRYABLE = new Set(['RATE_LIMITED', 'HTTP_503', 'API_TIMEOUT', 'UPSTREAM_503']);
const AGENTS = { draft: 'copywriter', publish: 'publisher', reply: 'community' };

// One call of a language model, with the attributes of the semantic conventions. The prompt is attached as an
// instrumentation with content capture would do it; the receiver decides whether it may stay.
async function chat(task, prompt) {
  const model = task === 'plan' ? 'claude-sonnet-4-5' : 'claude-haiku-4-5';
  return span(`chat ${model}`, { kind: api.SpanKind.CLIENT, attributes: {
    'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': 'anthropic', 'gen_ai.request.model': model,
    'gen_ai.input.messages': JSON.stringify([{ role: 'user', parts: [{ type: 'text', content: prompt }] }]), task_class: task,
  } }, async (current) => {
    const answer = await call(`${address('standIns')}/llm`, { model, prompt });
    current.setAttributes({
      'gen_ai.response.model': answer.model, 'gen_ai.response.id': answer.id, 'gen_ai.response.finish_reasons': [answer.finish_reason],
      'gen_ai.usage.input_tokens': answer.usage.input_tokens, 'gen_ai.usage.output_tokens': answer.usage.output_tokens,
      'gen_ai.usage.cache_read.input_tokens': answer.usage.cache_read_tokens,
    });
    return answer.text;
  });
}

async function withRetries(name, tries, body) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await body(attempt);
    } catch (error) {
      if (attempt >= tries || !RETRYABLE.has(error.code)) throw error;
      retries.add(1, { agent: name, reason: error.code });
      api.trace.getActiveSpan()?.addEvent('retry', { attempt, reason: error.code });
      log.warn({ event_name: 'step_retried', status: 'retry', error_code: error.code, attempt }, `${name} will be tried again`);
      await sleep(100 * 2 ** attempt * Math.random());
    }
  }
}

async function episode(job, agent) {
  const plan = await chat('plan', `Plan a ${job.kind} for the brief of ${telemetry.carried().client_id}. Contact: anna.fischer@example.com`);
  log.debug({ event_name: 'plan_ready', characters: plan.length }, 'plan ready');
  const asset = await withRetries(agent, 2, () => call(`${address('toolGateway')}/tools/render`, { plan }));
  const text = await chat('draft', `Write the caption: ${plan}`);
  return withRetries(agent, 3, () => call(`${address('toolGateway')}/tools/publish`, { text, asset_id: asset.asset_id }));
}

async function run(job) {
  const context = api.propagation.extract(api.ROOT_CONTEXT, job.context);
  await api.context.with(context, () => span('job.dequeue', { kind: api.SpanKind.CONSUMER, attributes: {
    'messaging.operation.type': 'process', 'messaging.destination.name': 'jobs', queue_wait_ms: Date.now() - job.enqueued_at,
  } }, async () => {
    const agent = AGENTS[job.kind] ?? 'copywriter';
    const labels = { lane: telemetry.carried().lane, blueprint: telemetry.carried().blueprint_id };
    const started = Date.now();
    await withIdentifiers({ episode_id: `ep_${randomUUID().slice(0, 12)}` }, () =>
      span('agent.episode', { attributes: { agent, run_id: `run_${job.job_id.slice(4)}` } }, async (current) => {
        try {
          const post = await episode(job, agent);
          completed.add(1, labels);
          log.info({ event_name: 'job_completed', status: 'ok', duration_ms: Date.now() - started, asset_id: post.asset_id }, `published ${post.url}`);
        } catch (error) {
          failures.add(1, { ...labels, reason: error.code ?? 'UNKNOWN' });
          if (error.code === 'POLICY_BLOCKED' || error.code === 'LOGIN_CHALLENGE') {
            escalations.add(1, { agent, reason: error.code });
            current.addEvent('escalation', { reason: error.code });
          }
          log.error({ event_name: 'job_failed', status: 'error', duration_ms: Date.now() - started, error_code: error.code, err: error }, 'job failed');
          throw error;
        }
      }));
    duration.record(Date.now() - job.enqueued_at, labels);
  })).catch(() => {});  // logged above; the worker goes on
}

async function work() {
  for (;;) {
    try {
      const job = await api.context.with(api.ROOT_CONTEXT, () => call(`${address('web')}/queue/take`, {}, { timeoutMs: 30_000 }));
      if (job) await run(job);
    } catch (error) {
      log.warn({ event_name: 'queue_unreachable', error_code: error.code }, 'the queue does not answer');
      await sleep(1000);
    }
  }
}
const CONCURRENCY = Number(process.env.AGENCY_WORKERS ?? 4);
for (let i = 0; i < CONCURRENCY; i++) work();
log.info({ event_name: 'started', concurrency: CONCURRENCY }, 'worker is up');
