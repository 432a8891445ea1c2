// Leases runs, runs their handlers, and tells the server how they went.
//
//   start() ─► register ─► lease (long-poll) ─► buffer ─► handler ─► report
//                             ▲                   │          │
//                             └── room again ◄────┴──────────┘          heartbeats for all that is held, meanwhile
//
// A run of this worker is in `buffer` (leased, not begun) or running; `held` is both, and all of it is heartbeated. A
// lease that could not be renewed in time is given up here before the server can give it to another worker.
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { jsonOf } from './batcher.ts';
import type { Caller } from './call.ts';
import { delay } from './clock.ts';
import { type Handler, RunContext } from './context.ts';
import {
  CancelledError,
  FatalError,
  type FettleError,
  LeaseLostError,
  ProblemError,
  ShutdownError,
  StoppedError,
  errorObject,
  isLate,
} from './errors.ts';
import { Prefetch } from './prefetch.ts';
import { Reporter } from './reporter.ts';
import { fullJitterMs } from './retry.ts';
import { LeasedRun, type RunServices, Suspended } from './run.ts';
import type { Logger } from './step_log.ts';
import { type Carried, NOTHING, type SpanOptions, restored } from './trace.ts';
import type { Json, Lease, LeaseAnswer, ReportAnswer, WorkerTerms } from './wire.ts';

export interface WorkerOptions {
  // Handlers by workflow; each names the type of its own payload.
  readonly workflows: Readonly<Record<string, Handler<never>>>;
  readonly pool?: string | undefined;
  // Handlers that run at once.
  readonly concurrency?: number | undefined;
  // Leases held beyond that, at most. The worker takes only as many as it expects to begin within a tenth of a second.
  readonly prefetchMax?: number | undefined;
  // While more reports than this wait, no new work is taken: the server does not keep up.
  readonly reportsPendingMax?: number | undefined;
  readonly runnerId?: string | undefined;
  readonly name?: string | undefined;
  readonly version?: string | undefined;
  // Gets the two lines of each step; see pinoStepOptions.
  readonly logger?: Logger | undefined;
  // What goes wrong beside the runs themselves: the server away, a report refused. The worker goes on.
  readonly onError?: ((error: Error) => void) | undefined;
  readonly waitMs?: number | undefined;
}

export type WorkerState = 'new' | 'running' | 'draining' | 'stopped';

const CONCURRENCY = 10;
const PREFETCH_MAX = 1000;
const LEASES_PER_REQUEST_MAX = 500;
const WAIT_MS = 20_000;
// How long after the promised time the server may take to answer a long-poll.
const WAIT_GRACE_MS = 10_000;
const REPORTS_PENDING_MAX = 5_000;
// The lease ends here a little before it ends at the server.
const LEASE_MARGIN_MS = 500;
const LEASE_BACKOFF = { retriesMax: Infinity, baseMs: 100, factor: 2, capMs: 5_000, elapsedMaxMs: Infinity };
const NO_RETRY = { ...LEASE_BACKOFF, retriesMax: 0 };
const DRAIN_RETRY = { ...LEASE_BACKOFF, retriesMax: 2, elapsedMaxMs: 3_000 };
const GRACE_MS = 30_000;
// After its signal, a handler has so long to come to an end before its run is given back without it.
const ABORT_GRACE_MS = 2_000;

export class Worker {
  readonly runnerId: string;
  readonly #caller: Caller;
  readonly #options: WorkerOptions;
  readonly #services: RunServices;
  readonly #reporter: Reporter;
  readonly #prefetch: Prefetch;
  readonly #concurrency: number;
  readonly #reportsPendingMax: number;
  readonly #held = new Map<string, LeasedRun>();
  #buffer: LeasedRun[] = [];
  #bufferHead = 0;
  #running = 0;
  #terms: WorkerTerms = { lease_ms: 10_000, heartbeat_ms: 3_000 };
  #state: WorkerState = 'new';
  #polling: { readonly abort: AbortController; readonly ended: Promise<void> } | undefined;
  #failures = 0;
  #cancelHeartbeat: (() => void) | undefined;
  #cancelExpiry: (() => void) | undefined;
  #wakeIdle: (() => void)[] = [];
  #stopping: Promise<void> | undefined;

  // Fettle.worker() makes it.
  constructor(caller: Caller, services: Omit<RunServices, 'reporter' | 'logger' | 'caller'>, options: WorkerOptions) {
    this.#caller = caller;
    this.#options = options;
    this.runnerId = options.runnerId ?? `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
    this.#reporter = new Reporter(caller, this.runnerId);
    this.#services = { ...services, caller, reporter: this.#reporter, logger: options.logger };
    this.#concurrency = Math.max(1, options.concurrency ?? CONCURRENCY);
    this.#reportsPendingMax = options.reportsPendingMax ?? REPORTS_PENDING_MAX;
    this.#prefetch = new Prefetch(this.#concurrency, options.prefetchMax ?? PREFETCH_MAX);
  }

  get state(): WorkerState {
    return this.#state;
  }
  // Handlers that run now.
  get running(): number {
    return this.#running;
  }

  // Registers and begins to take work. Rejects when the server refuses (a token without the scope, say).
  async start(): Promise<void> {
    if (this.#state !== 'new') throw new FatalError(`the worker is ${this.#state}`, { code: 'worker_state' });
    this.#state = 'running';
    try {
      await this.#register();
    } catch (error) {
      this.#state = 'new';
      throw error;
    }
    this.#scheduleHeartbeat();
    this.#pump();
  }

  // Takes no more work, gives back what it has not begun, and lets what runs finish for `graceMs`; then aborts it
  // with ShutdownError and gives it back: completed steps stay, so another worker resumes there. Resolves when all is
  // reported. Calls after the first share its outcome.
  stop(options: { graceMs?: number } = {}): Promise<void> {
    this.#stopping ??= this.#stop(options.graceMs ?? GRACE_MS);
    return this.#stopping;
  }

  // Resolves when everything that handlers have reported until now has been answered.
  settled(): Promise<void> {
    return this.#reporter.drained();
  }

  // ---- leasing

  #room(): number {
    if (this.#state !== 'running' || this.#reporter.pending > this.#reportsPendingMax) return 0;
    return this.#prefetch.limit() - this.#running - this.#buffered();
  }

  #buffered(): number {
    return this.#buffer.length - this.#bufferHead;
  }

  // Keeps one lease request under way while there is room for its answer.
  #pump(): void {
    if (this.#polling || this.#room() < this.#prefetch.leastRequest(this.#running + this.#buffered())) return;
    const abort = new AbortController();
    const ended = this.#lease(Math.min(this.#room(), LEASES_PER_REQUEST_MAX), abort.signal).finally(() => {
      this.#polling = undefined;
      this.#pump();
    });
    this.#polling = { abort, ended };
  }

  async #lease(max: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#caller;
    const waitMs = this.#options.waitMs ?? WAIT_MS;
    const body = {
      runner_id: this.runnerId,
      pool: this.#options.pool,
      workflows: Object.keys(this.#options.workflows),
      max,
      wait_ms: waitMs,
      payloads: true,
    };
    let answered: LeaseAnswer;
    try {
      answered = await this.#caller.post<LeaseAnswer>('/api/v1/work/lease', jsonOf(body, 'lease'), {
        signal,
        timeoutMs: waitMs + WAIT_GRACE_MS,
        retry: NO_RETRY,
        longPoll: true,
      });
      this.#failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      this.#tellError(error);
      await this.#afterLeaseFailure(error, signal);
      return;
    }
    // A long-poll says nothing of when, while it waited, the lease began; the answer's way here is within the margin,
    // and the first heartbeat sets an exact bound.
    const deadline = clock.now() + this.#terms.lease_ms - LEASE_MARGIN_MS;
    const runs = answered.leases.map((lease) => this.#take(lease, deadline));
    if (this.#state !== 'running') {
      this.#giveBack(runs, 'shutdown');
      return;
    }
    this.#buffer.push(...runs);
    // A few begin at once. Of many, the next request leaves first, so that the server looks for work while they run.
    if (runs.length <= this.#concurrency - this.#running) this.#begin();
    else setImmediate(() => this.#begin());
  }

  async #afterLeaseFailure(error: unknown, signal: AbortSignal): Promise<void> {
    const { clock } = this.#caller;
    const asked = error instanceof ProblemError ? (error.retryAfterMs ?? 0) : 0;
    const wait = Math.max(asked, fullJitterMs(LEASE_BACKOFF, this.#failures++, clock.random()));
    try {
      await delay(clock, wait, signal);
      // A server that was restarted without its memory of us, or that has called us lost.
      if (error instanceof ProblemError && (error.status === 404 || error.status === 409)) await this.#register();
    } catch (again) {
      if (!signal.aborted) this.#tellError(again);
    }
  }

  #take(lease: Lease, deadline: number): LeasedRun {
    // The server leased a run to us that we still held under an older fence: the older one is gone.
    this.#held.get(lease.run_id)?.stop(new LeaseLostError());
    const run = new LeasedRun(lease, deadline, this.#services);
    run.onAnswer = (answer) => this.#heed(run, answer);
    run.onReportError = (error) => this.#reportFailed(run, error);
    this.#held.set(lease.run_id, run);
    return run;
  }

  // ---- running

  #begin(): void {
    while (this.#running < this.#concurrency && this.#bufferHead < this.#buffer.length) {
      const run = this.#buffer[this.#bufferHead++] as LeasedRun;
      if (run.stopReason) this.#conclude(run, run.stopReason);
      else void this.#execute(run);
    }
    if (this.#bufferHead === this.#buffer.length) {
      this.#buffer = [];
      this.#bufferHead = 0;
    }
    this.#pump();
  }

  async #execute(run: LeasedRun): Promise<void> {
    const begin = this.#caller.clock.now();
    this.#running++;
    try {
      const result = await this.#handle(run);
      this.#finish(run, 'complete', result === undefined ? spent(run) : { result, ...spent(run) });
    } catch (error) {
      this.#conclude(run, error);
    }
    this.#running--;
    this.#prefetch.ran(this.#caller.clock.now() - begin);
    if (this.#running === 0) for (const wake of this.#wakeIdle.splice(0)) wake();
    if (this.#state === 'running') this.#begin();
  }

  #handle(run: LeasedRun): Promise<Json | void> {
    const { lease } = run;
    const handler = this.#options.workflows[lease.workflow] as Handler | undefined;
    if (!handler) throw new FatalError(`this worker has no workflow ${lease.workflow}`, { code: 'unknown_workflow' });
    return restored(
      carriedBy(lease),
      () => this.#span(lease),
      async () => {
        try {
          return await handler(new RunContext(run) as RunContext<never>);
        } catch (error) {
          if (error instanceof Suspended && run.suspension) return undefined; // not a failure of the span
          throw error;
        }
      },
    );
  }

  #span(lease: Lease): SpanOptions {
    const attributes = {
      run_id: lease.run_id,
      workflow: lease.workflow,
      client_id: lease.client_id ?? undefined,
      platform: lease.platform ?? undefined,
      lane: lease.lane ?? undefined,
      job_id: lease.job_id ?? undefined,
      request_id: lease.request_id ?? undefined,
      correlation_id: lease.correlation_id ?? undefined,
      runner_id: this.runnerId,
      attempt: lease.attempt,
    };
    return { name: `run ${lease.workflow}`, kind: 'consumer', attributes };
  }

  // The handler has thrown.
  #conclude(run: LeasedRun, error: unknown): void {
    const reason = run.stopReason;
    if (reason instanceof ShutdownError || reason instanceof StoppedError) {
      this.#finish(run, 'release', { reason: reason.code, ...spent(run) });
    } else {
      const cause = reason ?? error;
      this.#finish(run, 'fail', { error: errorObject(cause, this.#caller.clock.wall()), ...spent(run) });
    }
  }

  // The last report of this attempt; from here on the run is no longer ours. Whatever became of the lease meanwhile,
  // the report is sent: the server knows by the fence whether it applies, and keeps what comes late as late.
  #finish(run: LeasedRun, op: 'complete' | 'fail' | 'release', members: object): void {
    if (this.#held.get(run.lease.run_id) !== run) {
      if (run.finished) return; // given back while its handler did not heed the signal
    } else {
      this.#held.delete(run.lease.run_id);
    }
    run.finished = true;
    const parked = op === 'complete' ? run.suspension : undefined;
    if (parked === 'asked') return; // the lease has ended with the question
    const reported = parked ? run.report(parked.op, { ...parked.members, ...spent(run) }) : run.report(op, members);
    reported.then(
      () => this.#pump(),
      (error: unknown) => {
        this.#pump();
        if (op === 'complete' && (error as FettleError | undefined)?.code === 'invalid_value') {
          // The handler's result is no JSON: no lost acknowledgement, but a failure of the run.
          run.report('fail', { error: errorObject(error, this.#caller.clock.wall()), ...spent(run) }).catch(() => {});
        }
        if (!isLate(error)) this.#tellError(error);
      },
    );
  }

  // What an answer to a report asks of the run.
  #heed(run: LeasedRun, answer: ReportAnswer): void {
    if (answer.stop) run.stop(new StoppedError(answer.stop));
    else if (answer.cancel) run.stop(new CancelledError());
  }

  #reportFailed(run: LeasedRun, error: unknown): void {
    if (isLate(error)) {
      run.late = true;
      run.stop(error);
    } else this.#tellError(error);
  }

  // ---- heartbeats

  #scheduleHeartbeat(): void {
    this.#cancelHeartbeat = this.#caller.clock.after(this.#terms.heartbeat_ms, () => {
      this.#heartbeat();
      this.#scheduleHeartbeat();
    });
  }

  #heartbeat(): void {
    const now = this.#caller.clock.now();
    const deadline = now + this.#terms.lease_ms - LEASE_MARGIN_MS;
    for (const run of this.#held.values()) {
      if (run.beating || run.late || run.asking) continue; // one is on its way, or in vain
      run.beating = true;
      const progress = run.progressed;
      run.progressed = undefined;
      run
        .report('heartbeat', progress && { progress })
        .then(
          (answer) => {
            run.deadline = deadline; // counted from before it was sent
            this.#heed(run, answer);
          },
          (error: unknown) => {
            run.progressed ??= progress;
            this.#reportFailed(run, error);
          },
        )
        .finally(() => {
          run.beating = false;
        });
    }
    this.#expire();
  }

  // Stops the runs whose lease has ended for want of heartbeats, and comes back when the next one would.
  #expire(): void {
    const now = this.#caller.clock.now();
    let next = Infinity;
    for (const run of this.#held.values()) {
      if (run.stopReason) continue;
      if (now >= run.deadline)
        run.stop(new LeaseLostError('no heartbeat reached the server in time: the lease counts as lost'));
      else next = Math.min(next, run.deadline);
    }
    this.#cancelExpiry?.();
    this.#cancelExpiry = undefined;
    if (next - now < this.#terms.heartbeat_ms)
      this.#cancelExpiry = this.#caller.clock.after(next - now, () => this.#expire());
  }

  // ---- the beginning and the end

  async #register(): Promise<void> {
    const body = {
      runner_id: this.runnerId,
      pool: this.#options.pool,
      capacity: this.#concurrency,
      workflows: Object.keys(this.#options.workflows),
      name: this.#options.name,
      version: this.#options.version,
    };
    const terms = await this.#caller.post<Partial<WorkerTerms>>('/api/v1/workers', jsonOf(body, 'worker'));
    this.#terms = { ...this.#terms, ...terms };
  }

  async #stop(graceMs: number): Promise<void> {
    if (this.#state === 'new') {
      this.#state = 'stopped';
      return;
    }
    this.#state = 'draining';
    this.#giveBack(this.#buffer.slice(this.#bufferHead), 'shutdown');
    this.#buffer = [];
    this.#bufferHead = 0;
    // From here the server leases nothing to us and ends the long-poll that waits.
    const path = `/api/v1/workers/${encodeURIComponent(this.runnerId)}/drain`;
    await this.#caller.post(path, '{}', { retry: DRAIN_RETRY }).catch((error: unknown) => this.#tellError(error));
    if (!(await this.#endsWithin(this.#polling?.ended, ABORT_GRACE_MS))) {
      this.#polling?.abort.abort(new ShutdownError());
      await this.#polling?.ended;
    }
    if (!(await this.#idleWithin(graceMs))) {
      for (const run of this.#held.values()) run.stop(new ShutdownError());
      if (!(await this.#idleWithin(ABORT_GRACE_MS))) this.#giveBack([...this.#held.values()], 'shutdown');
    }
    await this.#reporter.drained();
    this.#cancelHeartbeat?.();
    this.#cancelExpiry?.();
    // Whoever ends well is not to be counted as lost. Nothing hangs on it: the server forgets us in time.
    await this.#caller
      .delete(`/api/v1/workers/${encodeURIComponent(this.runnerId)}`, { retry: DRAIN_RETRY })
      .catch(() => undefined);
    this.#state = 'stopped';
  }

  async #endsWithin(work: Promise<void> | undefined, ms: number): Promise<boolean> {
    if (!work) return true;
    let cancel: () => void = () => {};
    const late = new Promise<boolean>((resolve) => {
      cancel = this.#caller.clock.after(ms, () => resolve(false));
    });
    const ended = await Promise.race([work.then(() => true), late]);
    cancel();
    return ended;
  }

  // True when no handler runs any more; false when some still do after `ms`.
  #idleWithin(ms: number): Promise<boolean> {
    if (this.#running === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      const cancel = this.#caller.clock.after(ms, () => resolve(false));
      this.#wakeIdle.push(() => {
        cancel();
        resolve(true);
      });
    });
  }

  // Ready again at once for another worker, without counting as a retry.
  #giveBack(runs: readonly LeasedRun[], reason: string): void {
    for (const run of runs) this.#finish(run, 'release', { reason });
  }

  #tellError(error: unknown): void {
    if (error instanceof ShutdownError) return;
    this.#options.onError?.(error as Error);
  }
}

function carriedBy(lease: Lease): Readonly<Carried> {
  const { traceparent, tracestate, baggage, correlation_id } = lease;
  if (!traceparent && !tracestate && !baggage && !correlation_id) return NOTHING;
  return {
    ...(traceparent ? { traceparent } : {}),
    ...(tracestate ? { tracestate } : {}),
    ...(baggage ? { baggage } : {}),
    ...(correlation_id ? { correlation_id } : {}),
  };
}

function spent(run: LeasedRun): object {
  return run.tokens === 0 && run.costUsd === 0 ? {} : { tokens: run.tokens, cost_usd: run.costUsd };
}
