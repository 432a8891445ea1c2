// Trace context and baggage across the queue, through @opentelemetry/api when the program has it, else as plain text.
import { AsyncLocalStorage } from 'node:async_hooks';
import { createRequire } from 'node:module';
import type * as Api from '@opentelemetry/api';

// The API keeps its registrations on the global object, so any copy of it sees the program's SDK.
function load(): typeof Api | undefined {
  try {
    return createRequire(import.meta.url)('@opentelemetry/api') as typeof Api;
  } catch {
    return undefined;
  }
}
const api = load();

// Whether the program has set the API up. Without that each call of it does nothing, at a cost that short handlers feel.
const unset = api && new api.ProxyTracerProvider().getDelegate();
function active(): typeof Api | undefined {
  if (!api) return undefined;
  const provider = api.trace.getTracerProvider();
  const traces = !(provider instanceof api.ProxyTracerProvider) || provider.getDelegate() !== unset;
  return traces || api.propagation.fields().length > 0 ? api : undefined;
}

// What travels beside a payload.
export interface Carried {
  traceparent?: string;
  tracestate?: string;
  baggage?: string;
  correlation_id?: string;
}

// The run whose handler is executing, for work that it enqueues in turn.
const current = new AsyncLocalStorage<Readonly<Carried>>();

const CORRELATION = 'correlation_id';
export const NOTHING: Readonly<Carried> = Object.freeze({});

// The context of the caller, for an envelope.
export function carriedNow(): Readonly<Carried> {
  const outer = current.getStore();
  const api = active();
  if (!api) return outer ?? NOTHING;
  const carried: Carried = {};
  api.propagation.inject(api.context.active(), carried);
  const entry = api.propagation.getActiveBaggage()?.getEntry(CORRELATION);
  if (entry) carried.correlation_id = entry.value;
  if (outer === undefined) return carried;
  // No propagator: hand on what the run came with, unchanged.
  return carried.traceparent === undefined && carried.baggage === undefined
    ? outer
    : { ...correlation(outer), ...carried };
}

function correlation(carried: Readonly<Carried>): Carried {
  return carried.correlation_id === undefined ? {} : { correlation_id: carried.correlation_id };
}

export interface SpanOptions {
  readonly name: string;
  readonly kind: 'consumer' | 'internal' | 'client';
  readonly attributes: Readonly<Record<string, string | number | undefined>>;
}

// Runs `body` as the carried context would have it: its trace as parent, its baggage active with the correlation id in
// it, and a span around it.
export function restored<T>(
  carried: Readonly<Carried>,
  options: () => SpanOptions,
  body: () => Promise<T>,
): Promise<T> {
  const api = active();
  if (!api && carried === NOTHING && (current.getStore() ?? NOTHING) === NOTHING) return body();
  return current.run(carried, () => {
    if (!api) return body();
    return api.context.with(contextOf(api, carried), () => spanned(options(), body));
  });
}

function contextOf(otel: typeof Api, carried: Carried): Api.Context {
  const context = otel.propagation.extract(otel.ROOT_CONTEXT, carried);
  if (carried.correlation_id === undefined) return context;
  const baggage = otel.propagation.getBaggage(context) ?? otel.propagation.createBaggage();
  return otel.propagation.setBaggage(context, baggage.setEntry(CORRELATION, { value: carried.correlation_id }));
}

// Runs `body` in a span below the active one; a failure ends the span as failed.
export function spanned<T>(options: SpanOptions, body: () => Promise<T>): Promise<T> {
  const api = active();
  if (!api) return body();
  const { SpanKind, SpanStatusCode } = api;
  const kind = { consumer: SpanKind.CONSUMER, internal: SpanKind.INTERNAL, client: SpanKind.CLIENT }[options.kind];
  const attributes: Record<string, string | number> = {};
  for (const [name, value] of Object.entries(options.attributes)) if (value !== undefined) attributes[name] = value;
  return api.trace.getTracer('@fettle/sdk').startActiveSpan(options.name, { kind, attributes }, async (span) => {
    try {
      return await body();
    } catch (error) {
      if (error instanceof Error) span.recordException(error);
      const code = (error as { code?: unknown } | undefined)?.code;
      span.setAttribute(
        'error.type',
        typeof code === 'string' ? code : ((error as Error | undefined)?.name ?? 'error'),
      );
      span.setStatus({ code: SpanStatusCode.ERROR, message: (error as Error | undefined)?.message ?? String(error) });
      throw error;
    } finally {
      span.end();
    }
  });
}

// Makes a context that came from elsewhere (a header, an envelope) the active one while `body` runs.
export function carrying<T>(carried: Carried, body: () => Promise<T>): Promise<T> {
  return current.run(carried, () => {
    if (!api) return body();
    return api.context.with(contextOf(api, carried), body);
  });
}

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/;

// The ids of the active span, or of the one that the run came with, for records.
export function activeIds(): { trace_id?: string; span_id?: string } {
  const span = api?.trace.getActiveSpan()?.spanContext();
  if (api && span && api.isSpanContextValid(span)) return { trace_id: span.traceId, span_id: span.spanId };
  const [, traceId, spanId] = TRACEPARENT.exec(current.getStore()?.traceparent ?? '') ?? [];
  return traceId === undefined || spanId === undefined ? {} : { trace_id: traceId, span_id: spanId };
}
