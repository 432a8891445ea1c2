// The web app: takes a campaign from the operator's browser and puts a job on the queue, with the trace's context and
// baggage in the job's payload.
'use strict';
const { start, api } = require('./lib/telemetry.cjs');
const telemetry = start('agency-web');
const { randomUUID } = require('node:crypto');
const { serve, ports, HttpError } = require('./lib/http.cjs');
const { span, log, meter, withIdentifiers } = telemetry;

const QUEUE_MAX = 500;
const queue = [];
const waiting = [];
const enqueued = meter.createCounter('jobs_enqueued_total');
meter.createObservableGauge('queue_depth').addCallback((result) => result.observe(queue.length, { queue: 'jobs' }));

function enqueue(job) {
  const taker = waiting.shift();
  if (taker) taker(job); else queue.push(job);
}

const routes = {
  'POST /campaigns': (body) => withIdentifiers({
    request_id: `req_${randomUUID().replaceAll('-', '').slice(0, 16)}`,
    correlation_id: body.correlation_id ?? randomUUID(),
    client_id: body.client_id, lane: body.lane, platform: body.platform, surface: body.surface, blueprint_id: body.blueprint_id,
  }, () => span('http.request', { attributes: { 'http.route': '/campaigns' } }, async () => {
    if (queue.length >= QUEUE_MAX) throw new HttpError(503, 'QUEUE_FULL', 'the job queue is full');
    const job = { job_id: `job_${randomUUID().slice(0, 8)}`, kind: body.kind, enqueued_at: Date.now(), context: {} };
    withIdentifiers({ job_id: job.job_id }, () => api.propagation.inject(api.context.active(), job.context));
    enqueue(job);
    enqueued.add(1, { lane: body.lane, blueprint: body.blueprint_id });
    log.info({ event_name: 'job_enqueued', job_id: job.job_id, requested_by: body.requested_by }, `campaign accepted from ${body.requested_by}`);
    return { job_id: job.job_id };
  })),
  // The worker's long poll: answers with a job or, after a while, with none.
  'POST /queue/take': () => new Promise((resolve) => {
    if (queue.length > 0) { resolve(queue.shift()); return; }
    const taker = (job) => { clearTimeout(timer); resolve(job); };
    const timer = setTimeout(() => { waiting.splice(waiting.indexOf(taker), 1); resolve(null); }, 20_000);
    waiting.push(taker);
  }),
};
serve(ports().web, routes, log).then(() => log.info({ event_name: 'started' }, 'web app is up'));
