// The asset store: renders pictures and captions and keeps them; the same plan is rendered once.
'use strict';
const { start } = require('./lib/telemetry.cjs');
const telemetry = start('agency-asset-store');
const { createHash } = require('node:crypto');
const { serve, ports, sleep, HttpError } = require('./lib/http.cjs');
const { span, log, meter } = telemetry;

const KEPT_MAX = 1000;
const kept = new Map();
const rendered = meter.createHistogram('asset_render_duration_ms', { unit: 'ms' });
const uploadFailures = meter.createCounter('asset_upload_failures_total');
const hits = meter.createCounter('asset_dedupe_hits_total');

const routes = {
  'POST /render': async (input) => {
    const key = createHash('sha256').update(input.plan ?? '').digest('hex').slice(0, 16);
    if (kept.has(key)) { hits.add(1, { client_id: telemetry.carried().client_id }); return { asset_id: kept.get(key) }; }
    return span('asset.render', { attributes: { type: 'image', asset_id: `ast_${key}` } }, async () => {
      const started = Date.now();
      await sleep(30 + Math.random() * 120);
      rendered.record(Date.now() - started, { type: 'image' });
      if (Math.random() < 0.03) {
        uploadFailures.add(1, { storage_provider: 'local' });
        throw new HttpError(503, 'UPSTREAM_503', 'the object store answered 503');
      }
      if (kept.size >= KEPT_MAX) kept.delete(kept.keys().next().value);
      kept.set(key, `ast_${key}`);
      log.info({ event_name: 'asset_rendered', asset_id: `ast_${key}`, duration_ms: Date.now() - started }, 'asset rendered');
      return { asset_id: `ast_${key}` };
    });
  },
};
serve(ports().assets, routes, log).then(() => log.info({ event_name: 'started' }, 'asset store is up'));
