// Records that others will read: why an agent failed, why a workflow stalled, who did what.
import { Batcher, jsonOf } from './batcher.ts';
import { type Caller, itemError } from './call.ts';
import { activeIds, carriedNow } from './trace.ts';
import type { BatchAnswer, ItemAnswer, Json } from './wire.ts';

// Identifiers that any record may carry. The trace's ids and the correlation id are filled in from the context.
export interface Identifiers {
  readonly requestId?: string | undefined;
  readonly correlationId?: string | undefined;
  readonly traceId?: string | undefined;
  readonly spanId?: string | undefined;
  readonly clientId?: string | undefined;
  readonly runId?: string | undefined;
  // The step's name, or its place in the run as the step lines have it (then `stepName` says which it is).
  readonly stepId?: string | number | undefined;
}

// A line of an agent's run (`agent_logs`).
export interface AgentLog extends Identifiers {
  readonly level?: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly stepName?: string | undefined;
  readonly agent?: string | undefined;
  readonly model?: string | undefined;
  readonly tokens?: number | undefined;
  readonly error?: unknown;
  readonly payload?: Json | undefined;
}

// A durable record of a workflow's error (`workflow_failures`); open until its run succeeds or is discarded.
export interface WorkflowFailure extends Identifiers {
  readonly workflow?: string | undefined;
  readonly message: string;
  readonly stepName?: string | undefined;
  readonly retryAttempt?: number | undefined;
  readonly error?: unknown;
  readonly payload?: Json | undefined;
}

// Who did what to what (`audit_logs`).
export interface AuditEvent extends Identifiers {
  // The sender's own: whatever comes under it again is the same event. The server gives one without.
  readonly id?: string | undefined;
  readonly action: string;
  readonly actor?: { readonly type?: string; readonly id: string; readonly role?: string } | undefined;
  readonly target?: { readonly type?: string; readonly id: string } | undefined;
  readonly platform?: string | undefined;
  readonly surface?: string | undefined;
  readonly lane?: string | undefined;
  readonly policySnapshotId?: string | undefined;
  readonly payloadHash?: string | undefined;
  readonly summary?: string | undefined;
  readonly result?: 'success' | 'fail' | 'blocked' | undefined;
  // A code, not prose.
  readonly reason?: string | undefined;
  readonly before?: Json | undefined;
  readonly after?: Json | undefined;
  readonly payload?: Json | undefined;
  // URLs, or "sha256:<hex>" of an attachment; evidence is what a decision rests on.
  readonly proof?: readonly string[] | undefined;
  readonly evidence?: readonly string[] | undefined;
  readonly at?: Date | undefined;
}

export type Collection =
  'agent_runs' | 'agent_logs' | 'workflow_triggers' | 'workflow_failures' | 'audit_logs' | 'webhook_events';

export interface Recorded {
  readonly id: string;
}

export class Recorder {
  readonly #caller: Caller;
  readonly #batchers = new Map<Collection, Batcher<ItemAnswer<Recorded>>>();

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  // Resolves when the record is durable. `record` has the server's field names; the others below translate.
  async record(collection: Collection, record: Readonly<Record<string, unknown>>): Promise<Recorded> {
    const answer = await this.#batcher(collection).add(jsonOf(record, collection));
    return { id: (answer as unknown as Recorded).id };
  }

  agentLog(log: AgentLog): Promise<Recorded> {
    return this.record('agent_logs', {
      ...identifiers(log),
      level: log.level ?? 'error',
      message: log.message,
      step_name: log.stepName,
      agent: log.agent,
      model: log.model,
      tokens: log.tokens,
      error: log.error === undefined ? undefined : errorText(log.error),
      payload: log.payload,
    });
  }

  workflowFailure(failure: WorkflowFailure): Promise<Recorded> {
    return this.record('workflow_failures', {
      ...identifiers(failure),
      workflow: failure.workflow,
      message: failure.message,
      step_name: failure.stepName,
      retry_attempt: failure.retryAttempt,
      error: failure.error === undefined ? undefined : errorText(failure.error),
      payload: failure.payload,
    });
  }

  auditEvent(event: AuditEvent): Promise<Recorded> {
    return this.record('audit_logs', {
      ...identifiers(event),
      id: event.id,
      action: event.action,
      actor_type: event.actor?.type,
      actor_id: event.actor?.id,
      role: event.actor?.role,
      target_type: event.target?.type,
      target_id: event.target?.id,
      platform: event.platform,
      surface: event.surface,
      lane: event.lane,
      policy_snapshot_id: event.policySnapshotId,
      payload_hash: event.payloadHash,
      payload_summary: event.summary,
      result: event.result,
      reason: event.reason,
      before: event.before,
      after: event.after,
      payload: event.payload,
      proof: event.proof,
      evidence: event.evidence,
      at: event.at?.toISOString(),
    });
  }

  async drained(): Promise<void> {
    await Promise.all([...this.#batchers.values()].map((batcher) => batcher.drained()));
  }

  #batcher(collection: Collection): Batcher<ItemAnswer<Recorded>> {
    let batcher = this.#batchers.get(collection);
    if (!batcher) {
      batcher = new Batcher<ItemAnswer<Recorded>>({
        name: collection,
        itemsMax: 1000,
        bytesMax: 2.5 * 1024 * 1024,
        queueItemsMax: 10_000,
        queueBytesMax: 64 * 1024 * 1024,
        inFlightMax: 1, // records of one kind keep the order in which they were written
        send: async (items) => {
          const body = `{"records":[${items.join(',')}]}`;
          return (await this.#caller.post<BatchAnswer<Recorded>>(`/api/v1/${collection}`, body)).results;
        },
        errorOf: itemError,
      });
      this.#batchers.set(collection, batcher);
    }
    return batcher;
  }
}

function identifiers(record: Identifiers): Record<string, unknown> {
  const active = activeIds();
  return {
    request_id: record.requestId,
    correlation_id: record.correlationId ?? carriedNow().correlation_id,
    trace_id: record.traceId ?? active.trace_id,
    span_id: record.spanId ?? active.span_id,
    client_id: record.clientId,
    run_id: record.runId,
    step_id: record.stepId === undefined ? undefined : String(record.stepId),
  };
}

function errorText(error: unknown): string {
  if (!(error instanceof Error)) return typeof error === 'string' ? error : (JSON.stringify(error) ?? String(error));
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && !error.message.startsWith(code) ? `${code}: ${error.message}` : error.message;
}
