// The tool gateway: what the agent may do in the world, each call a span of its own.
'use strict';
const { start } = require('./lib/telemetry.cjs');
const telemetry = start('agency-tool-gateway');
const { serve, call, ports, address, HttpError } = require('./lib/http.cjs');
const { span, log, meter } = telemetry;

const toolErrors = meter.createCounter('tool_errors_total');
const blocked = meter.createCounter('policy_guard_blocks_total');
let calls = 0;

const tool = (name, body) => (input) => span('tool.call', { attributes: {
  tool_id: name, 'gen_ai.operation.name': 'execute_tool', 'gen_ai.tool.name': name, 'gen_ai.tool.call.id': `call_${++calls}`,
} }, async (current) => {
  try {
    return await body(input, current);
  } catch (error) {
    toolErrors.add(1, { tool_id: name, reason: error.code ?? 'UNKNOWN' });
    log.warn({ event_name: 'tool_failed', tool_id: name, error_code: error.code, status: 'error' }, `${name}: ${error.message}`);
    throw error;
  }
});

const routes = {
  'POST /tools/render': tool('render', (input) => call(`${address('assets')}/render`, { plan: input.plan })),
  'POST /tools/publish': tool('publish', async (input, current) => {
    if (/guaranteed|cure/.test(input.text)) {
      blocked.add(1, { policy: 'claims', reason: 'price_claim' });
      current.addEvent('policy_block', { policy: 'claims' });
      throw new HttpError(422, 'POLICY_BLOCKED', 'the caption makes a claim that the client does not allow');
    }
    const lane = telemetry.carried().platform === 'tiktok' ? 'browserRunner' : 'connector';
    current.setAttribute('execution_lane', lane === 'connector' ? 'api' : 'browser');
    return call(`${address(lane)}/publish`, input);
  }),
};
serve(ports().toolGateway, routes, log).then(() => log.info({ event_name: 'started' }, 'tool gateway is up'));
