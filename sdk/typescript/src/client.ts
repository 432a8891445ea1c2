// The way into Fettle for a Node program. One per process is enough; every method may be called at any time from
// anywhere in it.
//
//   const fettle = new Fettle({ url: 'http://127.0.0.1:7070', token });
//   const { runId } = await fettle.enqueue({ workflow: 'lead', clientId: 'acme', payload: { email } });
import { Caller, type CallOptions } from './call.ts';
import { jsonOf } from './batcher.ts';
import { type Clock, systemClock } from './clock.ts';
import { type EnqueueResult, type EnqueuedRun, Enqueuer, type RunOptions } from './enqueue.ts';
import { MayI, type MayIOptions, type MayIQuestion, type MayIVerdict } from './may_i.ts';
import { type ObservedRun, startRun } from './observed.ts';
import {
  type AgentLog,
  type AuditEvent,
  type Collection,
  type Recorded,
  Recorder,
  type WorkflowFailure,
} from './records.ts';
import type { RetryPolicy } from './retry.ts';
import {
  type EffectOwner,
  type Performed,
  type SideEffectOptions,
  type SideEffectResult,
  SideEffects,
  type Verdict,
} from './side_effect.ts';
import { Worker, type WorkerOptions } from './worker.ts';
import type { Json } from './wire.ts';

export interface FettleOptions {
  // FETTLE_URL, or http://127.0.0.1:7070, without.
  readonly url?: string | undefined;
  // FETTLE_TOKEN without. It names the workspace. A server started with --dev needs none.
  readonly token?: string | undefined;
  // For every call except leasing, which goes on for as long as the worker does.
  readonly retry?: RetryPolicy | undefined;
  readonly timeoutMs?: number | undefined;
  readonly connectionsMax?: number | undefined;
  // Runs that enqueue() may hold back before it refuses more with QueueFullError.
  readonly queueItemsMax?: number | undefined;
  // For tests.
  readonly clock?: Clock | undefined;
}

const URL_DEFAULT = 'http://127.0.0.1:7070';
const QUEUE_ITEMS_MAX = 10_000;
const QUEUE_CHARACTERS_MAX = 64 * 1024 * 1024;
// Two, so that the server writes one batch while the next is being made.
const ENQUEUE_IN_FLIGHT = 2;

export class Fettle {
  readonly #caller: Caller;
  readonly #enqueuer: Enqueuer;
  readonly #mayI: MayI;
  readonly #sideEffects: SideEffects;
  readonly #recorder: Recorder;

  constructor(options: FettleOptions = {}) {
    this.#caller = new Caller({
      url: options.url ?? process.env['FETTLE_URL'] ?? URL_DEFAULT,
      token: options.token ?? process.env['FETTLE_TOKEN'],
      clock: options.clock ?? systemClock,
      retry: options.retry,
      timeoutMs: options.timeoutMs,
      connectionsMax: options.connectionsMax,
    });
    this.#enqueuer = new Enqueuer(this.#caller, {
      queueItemsMax: options.queueItemsMax ?? QUEUE_ITEMS_MAX,
      queueBytesMax: QUEUE_CHARACTERS_MAX,
      inFlightMax: ENQUEUE_IN_FLIGHT,
    });
    this.#mayI = new MayI(this.#caller);
    this.#sideEffects = new SideEffects(this.#caller);
    this.#recorder = new Recorder(this.#caller);
  }

  // Resolves when the run is durable. Calls made close together travel in one request.
  enqueue(run: RunOptions): Promise<EnqueuedRun> {
    return this.#enqueuer.enqueue(run);
  }
  // One result per run, in their order.
  enqueueMany(runs: readonly RunOptions[]): Promise<EnqueueResult[]> {
    return this.#enqueuer.enqueueMany(runs);
  }

  // Wakes the runs that wait for it.
  async postEvent(
    name: string,
    options: { key?: string; payload?: Json; idempotencyKey?: string } = {},
  ): Promise<void> {
    const { key, payload, idempotencyKey } = options;
    await this.#caller.post('/api/v1/events', jsonOf({ name, key, payload }, `event ${name}`), { idempotencyKey });
  }

  // An observed run: the work runs here, Fettle is told.
  startRun(run: RunOptions): Promise<ObservedRun> {
    return startRun(this.#caller, run);
  }

  worker(options: WorkerOptions): Worker {
    const services = { sideEffects: this.#sideEffects, mayI: this.#mayI, recorder: this.#recorder };
    return new Worker(this.#caller, services, options);
  }

  // At most once, also outside of a run; `owner` ties it to one (ObservedRun.owner).
  sideEffect<T extends Json>(
    options: SideEffectOptions,
    perform: () => Promise<T | Performed<T>> | T | Performed<T>,
    verify?: () => Promise<Verdict> | Verdict,
    owner?: EffectOwner,
  ): Promise<SideEffectResult<T>> {
    return this.#sideEffects.run(options, perform, verify, owner);
  }

  mayI(question: MayIQuestion, options?: MayIOptions): Promise<MayIVerdict> {
    return this.#mayI.ask(question, options);
  }

  // These resolve when the record is durable. Not awaiting them is fine, with a catch; flush() waits for all.
  logAgentFailure(log: AgentLog): Promise<Recorded> {
    return this.#recorder.agentLog(log);
  }
  logWorkflowFailure(failure: WorkflowFailure): Promise<Recorded> {
    return this.#recorder.workflowFailure(failure);
  }
  logAuditEvent(event: AuditEvent): Promise<Recorded> {
    return this.#recorder.auditEvent(event);
  }
  // The same under its short name.
  audit(event: AuditEvent): Promise<Recorded> {
    return this.#recorder.auditEvent(event);
  }
  // Any record, under the server's own field names.
  record(collection: Collection, record: Readonly<Record<string, unknown>>): Promise<Recorded> {
    return this.#recorder.record(collection, record);
  }

  // Any other endpoint, with keys, retry and problems as everywhere else.
  get<T>(path: string, options?: CallOptions): Promise<T> {
    return this.#caller.get<T>(path, options);
  }
  post<T>(path: string, body: unknown, options?: CallOptions): Promise<T> {
    return this.#caller.post<T>(path, jsonOf(body, path), options);
  }

  // Resolves when everything handed over so far has been answered.
  async flush(): Promise<void> {
    await Promise.all([this.#enqueuer.drained(), this.#recorder.drained()]);
  }

  // Flushes and lets go of the connections. Stop the workers first.
  async close(): Promise<void> {
    await this.flush();
    this.#caller.close();
  }
}
