import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ROOT_CONTEXT, context, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core';
import { TracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import { until } from '../test/manual_clock.ts';
import { setup } from '../test/setup.ts';
import { carrying } from './trace.ts';

const exported = new InMemorySpanExporter();
const manager = new AsyncLocalStorageContextManager();

before(() => {
  context.setGlobalContextManager(manager.enable());
  propagation.setGlobalPropagator(
    new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }),
  );
  trace.setGlobalTracerProvider(
    new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: exported })] }),
  );
});
after(() => {
  trace.disable();
  propagation.disable();
  context.disable();
});

test('one trace leads from the caller through the queue into the handler and its steps', async (t) => {
  const { server, fettle } = await setup(t);
  let inside: Record<string, string | undefined> = {};
  const worker = fettle.worker({
    workflows: {
      lead: async (run) => {
        await run.step('parse', () => 'ok');
        inside = {
          trace: trace.getActiveSpan()?.spanContext().traceId,
          client: propagation.getActiveBaggage()?.getEntry('client_id')?.value,
          correlation: propagation.getActiveBaggage()?.getEntry('correlation_id')?.value,
        };
        await fettle.enqueue({ workflow: 'next' });
        await fettle.logAgentFailure({ message: 'm' });
      },
    },
  });
  const baggage = propagation.createBaggage({ client_id: { value: 'acme' } });
  let caller = '';
  await context.with(propagation.setBaggage(ROOT_CONTEXT, baggage), () =>
    trace.getTracer('test').startActiveSpan('caller', async (span) => {
      caller = span.spanContext().traceId;
      await fettle.enqueue({ workflow: 'lead', correlationId: 'c-1' });
      span.end();
    }),
  );
  const envelope = server.runs.get('run_1')?.run;
  assert.match(String(envelope?.['traceparent']), new RegExp(`^00-${caller}-[0-9a-f]{16}-01$`));
  assert.equal(envelope?.['baggage'], 'client_id=acme');
  assert.equal(envelope?.['correlation_id'], 'c-1');
  await worker.start();
  await until('it succeeds', () => server.runs.get('run_1')?.state === 'succeeded');
  assert.deepEqual(inside, { trace: caller, client: 'acme', correlation: 'c-1' });
  const next = server.runs.get('run_2')?.run;
  assert.ok(String(next?.['traceparent']).includes(caller));
  assert.equal(next?.['correlation_id'], 'c-1');
  assert.deepEqual(
    exported.getFinishedSpans().map((span) => [span.name, span.spanContext().traceId === caller]),
    [
      ['caller', true],
      ['step parse', true],
      ['run lead', true],
    ],
  );
  const record = server.records.get('agent_logs')?.[0];
  assert.deepEqual([record?.['trace_id'], record?.['correlation_id']], [caller, 'c-1']);
  await worker.stop();
});

test('a failed run ends its span as failed; a sleeping one does not', async (t) => {
  const { server, fettle } = await setup(t);
  exported.reset();
  const worker = fettle.worker({
    workflows: {
      fails: () => Promise.reject(Object.assign(new Error('no'), { code: 'API_TIMEOUT' })),
      sleeps: (run) => run.sleep(1_000),
    },
  });
  const runs = [server.add('fails'), server.add('sleeps')];
  await worker.start();
  await until('both are out', () => runs[0]?.state === 'failed' && runs[1]?.state === 'sleeping');
  const spans = exported.getFinishedSpans();
  const failed = spans.find((span) => span.name === 'run fails');
  assert.deepEqual([failed?.status.code, failed?.attributes['error.type']], [2, 'API_TIMEOUT']);
  assert.equal(spans.find((span) => span.name === 'run sleeps')?.status.code, 0);
  await worker.stop();
});

test('without an SDK of its own, a handler still hands the context of its run on', async (t) => {
  trace.disable();
  propagation.disable();
  const { server, fettle } = await setup(t);
  const carried = { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, baggage: 'k=v', correlation_id: 'c-2' };
  const worker = fettle.worker({ workflows: { lead: async () => void (await fettle.enqueue({ workflow: 'next' })) } });
  server.add('lead', carried);
  await worker.start();
  await until('it succeeds', () => server.runs.get('run_1')?.state === 'succeeded');
  assert.deepEqual(server.runs.get('run_2')?.run, { workflow: 'next', ...carried });
  await worker.stop();
});

test('a context from elsewhere goes with what is enqueued, and names the trace of records', async (t) => {
  trace.disable();
  propagation.disable();
  const { server, fettle } = await setup(t);
  const carried = { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, correlation_id: 'c-3' };
  await carrying(carried, async () => {
    await fettle.enqueue({ workflow: 'next' });
    await fettle.logAgentFailure({ message: 'm' });
  });
  assert.deepEqual(server.runs.get('run_1')?.run, { workflow: 'next', ...carried });
  const record = server.records.get('agent_logs')?.[0];
  assert.deepEqual([record?.['trace_id'], record?.['span_id']], ['a'.repeat(32), 'b'.repeat(16)]);
});
