// The platform connector: publishes through the platforms' own interfaces.
'use strict';
const { start, api } = require('./lib/telemetry.cjs');
const telemetry = start('agency-platform-connector');
const { serve, call, ports, address, sleep } = require('./lib/http.cjs');
const { span, log, meter } = telemetry;

const published = meter.createCounter('posts_published_total');
const failed = meter.createCounter('publish_failures_total');
const visible = meter.createHistogram('publish_time_to_visible_ms', { unit: 'ms' });
meter.createObservableGauge('rate_limit_remaining').addCallback((result) => result.observe(200 - (Date.now() / 1000) % 200, { platform: 'instagram' }));

const routes = {
  'POST /publish': async (input) => {
    const { platform, surface, lane } = telemetry.carried();
    const started = Date.now();
    try {
      const post = await span('platform.api', { kind: api.SpanKind.CLIENT, attributes: { 'http.request.method': 'POST' } },
        () => call(`${address('standIns')}/platform/posts`, { platform, text: input.text }));
      await span('post.verify', {}, async (current) => {
        await sleep(25);
        current.setAttribute('visible', true);
      });
      published.add(1, { platform, surface });
      visible.record(Date.now() - started, { platform, lane });
      log.info({ event_name: 'published', status: 'ok', asset_id: input.asset_id }, `post visible at ${post.url}`);
      return { url: post.url, asset_id: input.asset_id };
    } catch (error) {
      failed.add(1, { platform, reason: error.code ?? 'UNKNOWN' });
      throw error;
    }
  },
};
serve(ports().connector, routes, log).then(() => log.info({ event_name: 'started' }, 'platform connector is up'));
