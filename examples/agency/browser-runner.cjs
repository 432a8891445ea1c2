// The browser runner: publishes where a platform has no API, step by step, and looks whether the post can be seen.
'use strict';
const { start } = require('./lib/telemetry.cjs');
const telemetry = start('agency-browser-runner');
const { serve, call, ports, address, sleep, HttpError } = require('./lib/http.cjs');
const { span, log, meter } = telemetry;

const RUNNERS = ['rb-01', 'rb-02', 'rb-07'];
const runs = meter.createCounter('browser_runs_total');
const stepFailures = meter.createCounter('browser_step_failures_total');
const challenges = meter.createCounter('browser_login_challenges_total');
const stepDuration = meter.createHistogram('browser_step_duration_ms', { unit: 'ms' });
let turn = 0;

async function step(action, selector, ms, mayFail) {
  return span('browser.step', { attributes: { 'browser.action': action, 'browser.selector_hash': selector } }, async () => {
    const started = Date.now();
    await sleep(ms * (0.5 + Math.random()));
    stepDuration.record(Date.now() - started, { action, selector_hash: selector });
    const code = mayFail?.();
    if (code) {
      stepFailures.add(1, { action, reason: code });
      throw new HttpError(502, code, `${action} did not finish: ${code}`);
    }
  });
}

const routes = {
  'POST /publish': (input) => span('browser.run', { attributes: {
    runner_id: RUNNERS[turn++ % RUNNERS.length], runner_pool: 'default', 'browser.action': 'publish',
  } }, async () => {
    const platform = telemetry.carried().platform;
    runs.add(1, { platform, action: 'publish' });
    await step('login.submit', '#a91f', 30, () => {
      if (Math.random() > 0.06) return null;
      challenges.add(1, { platform });
      return 'LOGIN_CHALLENGE';
    });
    await step('upload.file', '#07c2', 60, () => (Math.random() < 0.03 ? 'SELECTOR_NOT_FOUND' : null));
    await step('caption.fill', '#33d0', 20);
    const post = await call(`${address('standIns')}/platform/posts`, { platform, text: input.text });
    await span('post.verify', {}, async (current) => {
      await sleep(40);
      current.setAttribute('visible', true);
    });
    log.info({ event_name: 'published', status: 'ok', asset_id: input.asset_id }, `post visible at ${post.url}`);
    return { url: post.url, asset_id: input.asset_id };
  }),
};
serve(ports().browserRunner, routes, log).then(() => log.info({ event_name: 'started' }, 'browser runner is up'));
