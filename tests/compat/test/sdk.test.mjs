// The official OpenTelemetry SDK for JavaScript over its three transports: what it sends is what can be read.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { OTLPLogExporter as GrpcLogs } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPLogExporter as JsonLogs } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as ProtoLogs } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPMetricExporter as GrpcMetrics } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as JsonMetrics } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtoMetrics } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter as GrpcTraces } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonTraces } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtoTraces } from '@opentelemetry/exporter-trace-otlp-proto';
import { startServer, until } from '../server.mjs';

let server;
before(async () => { server = await startServer(); });
after(async () => { assert.deepEqual(await server.stop(), { code: 0, signal: null }); });

const transports = {
  grpc: { Traces: GrpcTraces, Metrics: GrpcMetrics, Logs: GrpcLogs, url: () => ({ traces: server.otlpGrpc, metrics: server.otlpGrpc, logs: server.otlpGrpc }) },
  'http-protobuf': { Traces: ProtoTraces, Metrics: ProtoMetrics, Logs: ProtoLogs, url: paths },
  'http-json': { Traces: JsonTraces, Metrics: JsonMetrics, Logs: JsonLogs, url: paths },
  'http-protobuf-gzip': { Traces: ProtoTraces, Metrics: ProtoMetrics, Logs: ProtoLogs, url: paths, compression: 'gzip' },
};
function paths() {
  return { traces: `${server.otlpHttp}/v1/traces`, metrics: `${server.otlpHttp}/v1/metrics`, logs: `${server.otlpHttp}/v1/logs` };
}

for (const [name, transport] of Object.entries(transports)) {
  test(`spans over ${name} are readable as sent`, async () => {
    const exporter = new transport.Traces({ url: transport.url().traces, compression: transport.compression });
    const provider = new TracerProvider({ spanProcessors: [new BatchSpanProcessor({ exporter })] });
    const tracer = provider.getTracer('compat', '1.2.3');
    const root = tracer.startSpan(`root ${name}`, { kind: SpanKind.SERVER, attributes: { client_id: 'acme', 'http.response.status_code': 503, ratio: 0.5, flag: true, list: ['a', 'b'], job_id: `job-${name}` } });
    const child = tracer.startSpan('child', { links: [{ context: root.spanContext(), attributes: { why: 'test' } }] }, trace.setSpan(context.active(), root));
    child.addEvent('exception', { 'exception.type': 'E', 'exception.message': 'broken' });
    child.setStatus({ code: SpanStatusCode.ERROR, message: 'it broke' });
    child.end();
    root.end();
    await provider.shutdown();

    const id = root.spanContext().traceId;
    const got = await until('the trace', async () => {
      const response = await fetch(`${server.base}/api/v1/traces/${id}`);
      const body = response.ok ? await response.json() : null;
      return body?.spans.length === 2 ? body : null;
    });
    const byName = Object.fromEntries(got.spans.map((span) => [span.name, span]));
    assert.equal(byName[`root ${name}`].kind, 'server');
    assert.equal(byName[`root ${name}`].attrs['http.response.status_code'], 503);
    assert.equal(byName[`root ${name}`].attrs.ratio, 0.5);
    assert.equal(byName[`root ${name}`].attrs.flag, true);
    assert.deepEqual(byName[`root ${name}`].attrs.list, ['a', 'b']);
    assert.equal(byName[`root ${name}`].ids.client_id, 'acme');
    assert.equal(byName.child.parent_span_id, root.spanContext().spanId);
    assert.equal(byName.child.status, 'error');
    assert.equal(byName.child.status_message, 'it broke');
    assert.equal(byName.child.events[0].name, 'exception');
    assert.equal(byName.child.links[0].trace_id, id);
    assert.equal(byName.child.scope_name, 'compat');

    const journey = await server.json(`/api/v1/journeys/${encodeURIComponent(`job-${name}`)}`);
    assert.deepEqual(journey.trace_ids, [id]);
  });

  test(`logs over ${name} are readable as sent`, async () => {
    const exporter = new transport.Logs({ url: transport.url().logs, compression: transport.compression });
    const provider = new LoggerProvider({ processors: [new BatchLogRecordProcessor({ exporter })] });
    const word = `Quokka${name.replaceAll('-', '')}`;
    provider.getLogger('compat').emit({ severityNumber: 13, severityText: 'WARN', body: `a ${word} appeared`, attributes: { run_id: `run-${name}`, n: 7 } });
    await provider.shutdown();
    const found = await until('the log', async () => {
      const body = await server.json(`/api/v1/logs?q=${word.toLowerCase()}`);
      return body.logs.length > 0 ? body : null;
    });
    assert.equal(found.logs.length, 1);
    assert.equal(found.logs[0].body, `a ${word} appeared`);
    assert.equal(found.logs[0].level, 'warn');
    assert.equal(found.logs[0].attrs.n, 7);
    assert.equal(found.logs[0].ids.run_id, `run-${name}`);
  });

  test(`metrics over ${name} are readable as sent`, async () => {
    const exporter = new transport.Metrics({ url: transport.url().metrics, compression: transport.compression });
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
    const provider = new MeterProvider({ readers: [reader] });
    const suffix = name.replaceAll('-', '_');
    provider.getMeter('compat').createCounter(`compat_${suffix}_total`).add(3, { lane: 'planning' });
    provider.getMeter('compat').createHistogram(`compat_${suffix}_ms`).record(12);
    await provider.shutdown();
    const rows = await until('the points', async () => {
      const { rows: found } = await server.sql(`SELECT name, value FROM metrics WHERE name = 'compat_${suffix}_total'`);
      return found.length > 0 ? found : null;
    });
    assert.deepEqual(rows.map(([metric, value]) => [metric, Number(value)]), [[`compat_${suffix}_total`, 3]]);
  });
}

test('a program that only sets OTEL_* variables is received', async () => {
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = server.otlpHttp;
  process.env.OTEL_EXPORTER_OTLP_PROTOCOL = 'http/protobuf';
  process.env.OTEL_TRACES_EXPORTER = 'otlp';
  process.env.OTEL_METRICS_EXPORTER = 'none';
  process.env.OTEL_LOGS_EXPORTER = 'none';
  const sdk = new NodeSDK({ serviceName: 'env-only' });
  sdk.start();
  const span = trace.getTracer('t').startSpan('env span');
  span.end();
  await sdk.shutdown();
  await until('the span', async () => (await fetch(`${server.base}/api/v1/traces/${span.spanContext().traceId}`)).ok);
});

test('the books close for every sender', async () => {
  const { senders } = await until('an empty queue', async () => {
    const body = await server.json('/api/v1/ingest/balance');
    return body.senders.every((sender) => sender.pending === 0) ? body : null;
  });
  assert.ok(senders.length > 0);
  for (const sender of senders) {
    assert.equal(sender.balanced, true, JSON.stringify(sender));
    assert.equal(sender.received, sender.stored, JSON.stringify(sender));
  }
});
