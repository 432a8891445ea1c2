// Starts the OpenTelemetry SDK for one program, first thing in it. Where telemetry goes is up to the environment
// (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL), as with any instrumented program.
'use strict';
const { getNodeAutoInstrumentations } = require('@opentelemetry/auto-instrumentations-node');
const { NodeSDK } = require('@opentelemetry/sdk-node');
const api = require('@opentelemetry/api');

// Identifiers that travel with the work as baggage and belong on every span and log line.
const CARRIED = ['correlation_id', 'client_id', 'lane', 'platform', 'surface', 'blueprint_id', 'episode_id', 'job_id', 'request_id'];

function carried(context = api.context.active()) {
  const baggage = api.propagation.getBaggage(context);
  const found = {};
  if (baggage) for (const name of CARRIED) { const entry = baggage.getEntry(name); if (entry) found[name] = entry.value; }
  return found;
}

// Continues with more identifiers in the baggage.
function withIdentifiers(identifiers, body) {
  let baggage = api.propagation.getActiveBaggage() ?? api.propagation.createBaggage();
  for (const [name, value] of Object.entries(identifiers)) if (value !== undefined) baggage = baggage.setEntry(name, { value: String(value) });
  return api.context.with(api.propagation.setBaggage(api.context.active(), baggage), body);
}

function start(serviceName) {
  const ofRequest = (span, request) => {
    const headers = request.headers;  // incoming only: the baggage is not in the context yet
    const context = headers?.baggage ? api.propagation.extract(api.ROOT_CONTEXT, headers) : api.context.active();
    span.setAttributes(carried(context));
  };
  const sdk = new NodeSDK({
    serviceName,
    instrumentations: [getNodeAutoInstrumentations({
      '@opentelemetry/instrumentation-fs': { enabled: false },
      '@opentelemetry/instrumentation-dns': { enabled: false },
      '@opentelemetry/instrumentation-net': { enabled: false },
      '@opentelemetry/instrumentation-http': { requestHook: ofRequest },
      '@opentelemetry/instrumentation-undici': { requestHook: (span) => span.setAttributes(carried()) },
    })],
  });
  sdk.start();
  const stop = () => sdk.shutdown().finally(() => process.exit(0));
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);

  const tracer = api.trace.getTracer('fettle.example.agency', '1.0.0');
  // Runs `body` in a span of its own; a thrown error ends it as failed, with the error's code as error.type.
  async function span(name, options, body) {
    return tracer.startActiveSpan(name, { ...options, attributes: { ...carried(), ...options.attributes } }, async (current) => {
      try {
        return await body(current);
      } catch (error) {
        current.recordException(error);
        current.setAttribute('error.type', error.code ?? error.name);
        current.setStatus({ code: api.SpanStatusCode.ERROR, message: error.message });
        throw error;
      } finally {
        current.end();
      }
    });
  }

  const log = require('pino')({ name: serviceName, mixin: () => carried() });
  return { span, log, meter: api.metrics.getMeter('fettle.example.agency', '1.0.0'), carried, withIdentifiers };
}

module.exports = { start, api };
