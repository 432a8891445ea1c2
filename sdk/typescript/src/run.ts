// A leased run as its handler sees it: payload, memo of steps, signal, and everything it can say while it runs.
import { type ApprovalDecision, type ApprovalOptions, approvalJson, decisionOf } from './approval.ts';
import type { Caller } from './call.ts';
import { delay } from './clock.ts';
import { FettleError, ProblemError, errorObject, isLate, isRetryable, lateReason, retryAfterOf } from './errors.ts';
import type { MayI, MayIOptions, MayIQuestion, MayIVerdict } from './may_i.ts';
import type { StepScope, Usage } from './observed.ts';
import type { AgentLog, AuditEvent, Recorded, Recorder, WorkflowFailure } from './records.ts';
import type { Reporter } from './reporter.ts';
import { CALL_RETRY, type RetryPolicy, fullJitterMs } from './retry.ts';
import type { Performed, SideEffectOptions, SideEffectResult, SideEffects, Verdict } from './side_effect.ts';
import { type Logger, logStepCompleted, logStepFailed } from './step_log.ts';
import { spanned } from './trace.ts';
import type { ApprovalAnswer, Json, Lease, LeasedStep, ReportAnswer, WaitResult } from './wire.ts';

// Leaves the handler when the run goes to sleep; only the worker catches it.
export class Suspended extends FettleError {
  constructor() {
    super('suspended', 'the run sleeps until its time, its event or a decision comes; let this error pass');
  }
}

export interface StepOptions {
  // Retries within this attempt, with full jitter, of errors that may pass, beside those of the server's policy for
  // this step. With neither, the run is retried as a whole and resumes here.
  readonly retry?: Partial<RetryPolicy> | undefined;
}

export interface Progress {
  readonly done?: number;
  readonly total?: number;
  readonly note?: string;
}

export interface RunServices {
  readonly caller: Caller;
  readonly reporter: Reporter;
  readonly sideEffects: SideEffects;
  readonly mayI: MayI;
  readonly recorder: Recorder;
  readonly logger: Logger | undefined;
}

// The worker's side of a run; the handler gets it as RunContext.
export class LeasedRun {
  readonly lease: Lease;
  // When the lease ends if no heartbeat gets through, on the worker's clock. Renewed by the worker.
  deadline: number;
  beating = false; // a heartbeat is on its way
  late = false; // the server has said that the lease is gone
  asking = false; // a question that ends the lease is on its way, or was taken
  finished = false; // the last report has been made
  // What the handler has said of its progress since the last heartbeat.
  progressed: Progress | undefined;
  // Used outside of steps; theirs travels with them.
  tokens = 0;
  costUsd = 0;
  // Set by sleep(), waitFor() and approval(): how to report once the handler has been left. Asking was its own report.
  suspension: { op: 'sleep' | 'wait'; members: object } | 'asked' | undefined;

  readonly #services: RunServices;
  // Made by the first step: most short handlers have none.
  #memo: Map<string, LeasedStep> | undefined;
  #seen: Map<string, number> | undefined;
  #abort: AbortController | undefined;
  #reason: FettleError | undefined;
  #stepCount = 0;

  constructor(lease: Lease, deadline: number, services: RunServices) {
    this.lease = lease;
    this.deadline = deadline;
    this.#services = services;
  }

  // What an earlier attempt completed.
  #remembered(name: string): LeasedStep | undefined {
    if (this.#memo === undefined) {
      this.#memo = new Map();
      for (const step of this.lease.steps ?? [])
        if (step.status === 'completed' || step.status === 'succeeded') this.#memo.set(step.name, step);
    }
    return this.#memo.get(name);
  }

  // Made when somebody asks: most short handlers never do, and a controller costs more than they do.
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#reason && !this.#abort.signal.aborted) this.#abort.abort(this.#reason);
    return this.#abort.signal;
  }

  get stopReason(): FettleError | undefined {
    return this.#reason;
  }

  // The first reason stays.
  stop(reason: FettleError): void {
    if (this.#reason) return;
    this.#reason = reason;
    this.#abort?.abort(reason);
  }

  get requestId(): string {
    return this.lease.request_id ?? this.lease.correlation_id ?? this.lease.run_id;
  }

  report(op: Parameters<Reporter['report']>[0], members?: object): Promise<ReportAnswer> {
    return this.#services.reporter.report(op, this.lease.run_id, this.lease.fence, members);
  }

  // A report that nobody waits for. A lost lease stops the run; any other failure is told to `onError`, since the
  // heartbeats will find out whether the server is away.
  tell(op: Parameters<Reporter['report']>[0], members: object): void {
    this.report(op, members).then(
      (answer) => this.onAnswer(answer),
      (error: unknown) => this.onReportError(error),
    );
  }
  onAnswer: (answer: ReportAnswer) => void = () => {};
  onReportError: (error: unknown) => void = () => {};

  async step<T>(name: string, body: (step: StepScope) => Promise<T> | T, options: StepOptions = {}): Promise<T> {
    this.#guard();
    const step = ++this.#stepCount;
    const unique = this.#unique(name);
    const done = this.#remembered(unique);
    if (done) return (done.result ?? undefined) as T;
    const { clock } = this.#services.caller;
    const policy: RetryPolicy = { ...CALL_RETRY, retriesMax: 0, ...options.retry };
    const firstBegin = clock.now();
    for (let retry = 0; ; retry++) {
      this.#guard();
      const used = { tokens: 0, costUsd: 0 };
      const scope: StepScope = { name: unique, stepId: step, usage: (usage) => this.#use(usage, used) };
      const begin = clock.now();
      this.tell('step_start', { step, name: unique });
      let result: T;
      try {
        const attributes = { run_id: this.lease.run_id, step_id: step, client_id: this.lease.client_id ?? undefined };
        result = await spanned({ name: `step ${unique}`, kind: 'internal', attributes }, async () => body(scope));
      } catch (error) {
        if (error instanceof Suspended) throw error;
        const wait = this.#waitBeforeRetry(error, policy, retry, firstBegin);
        this.#logFailed(step, unique, clock.now() - begin, retry, error);
        const again = await this.#stepFailed({
          step,
          name: unique,
          error: errorObject(error, clock.wall()),
          will_retry: wait !== undefined,
          tokens: used.tokens,
          cost_usd: used.costUsd,
          duration_ms: Math.round(clock.now() - begin),
        });
        const pause = again ?? wait;
        if (pause === undefined || this.#reason) throw error;
        await delay(clock, pause, this.signal);
        continue;
      }
      const durationMs = clock.now() - begin;
      // The next step starts only when this one is on record: otherwise a crash would do it again.
      await this.#complete({
        step,
        name: unique,
        result,
        duration_ms: Math.round(durationMs),
        tokens: used.tokens,
        cost_usd: used.costUsd,
      });
      const { logger } = this.#services;
      if (logger) logStepCompleted(logger, { ...this.#line(step, unique), durationMs }, used);
      return result;
    }
  }

  // Leaves the handler until the time has come; the server then completes the sleep as a step, the handler runs again
  // from the start, and this returns at once. `name` tells several sleeps of a run apart.
  async sleep(until: number | Date, name = 'sleep'): Promise<void> {
    this.#guard();
    const unique = this.#unique(`sleep:${name}`);
    const step = ++this.#stepCount;
    if (this.#remembered(unique)) return;
    const at = until instanceof Date ? until.getTime() : this.#services.caller.clock.wall() + until;
    this.#suspend('sleep', { step, name: unique, until: new Date(at).toISOString() });
  }

  // Leaves the handler until somebody posts the event, or until `timeoutMs` is over. Answers with the event's payload,
  // or with undefined when it never came.
  async waitFor(
    event: string,
    options: { timeoutMs?: number; key?: string; name?: string } = {},
  ): Promise<Json | undefined> {
    this.#guard();
    const unique = this.#unique(options.name ?? `wait:${event}`);
    const step = ++this.#stepCount;
    const known = this.#remembered(unique);
    if (known) {
      const result = known.result as WaitResult | null | undefined;
      return result?.expired === true ? undefined : (result?.payload ?? null);
    }
    const { clock } = this.#services.caller;
    const expires =
      options.timeoutMs === undefined ? undefined : new Date(clock.wall() + options.timeoutMs).toISOString();
    return this.#suspend('wait', { step, event, key: options.key, name: unique, expires_at: expires });
  }

  // Asks a person, and leaves the handler until somebody has decided or the question has expired. Asked once: a later
  // attempt finds the decision among the completed steps.
  async approval(name: string, options: ApprovalOptions): Promise<ApprovalDecision> {
    this.#guard();
    const unique = this.#unique(`approval:${name}`);
    this.#stepCount++;
    const known = this.#remembered(unique);
    if (known) return decisionOf(known.result);
    const { caller } = this.#services;
    this.asking = true; // its answer ends the lease: no heartbeat may come behind it
    try {
      await this.#beforeAsking(unique);
      const question = approvalJson(this.lease, unique, options, caller.clock);
      const answer = await caller.post<ApprovalAnswer>('/api/v1/approvals', question);
      if (answer.state === 'done') {
        this.asking = false;
        return decisionOf(answer.result);
      }
    } catch (error) {
      this.asking = false;
      // The lease may be gone: only a report is told why.
      if (error instanceof ProblemError && error.status === 409) await this.#confirmed('heartbeat', {});
      throw error;
    }
    this.suspension = 'asked';
    throw new Suspended();
  }

  usage(usage: Usage): void {
    this.#use(usage, undefined);
  }

  async sideEffect<T extends Json>(
    options: SideEffectOptions,
    perform: () => Promise<T | Performed<T>> | T | Performed<T>,
    verify?: () => Promise<Verdict> | Verdict,
  ): Promise<SideEffectResult<T>> {
    this.#guard();
    const { lease } = this;
    const filled: SideEffectOptions = {
      ...options,
      clientId: options.clientId ?? lease.client_id ?? undefined,
      platform: options.platform ?? lease.platform ?? undefined,
      agent: options.agent ?? lease.agent ?? undefined,
    };
    const owner = { runId: lease.run_id, fence: lease.fence, signal: this.signal };
    try {
      return await this.#services.sideEffects.run(filled, perform, verify, owner);
    } catch (error) {
      if (!(error instanceof ProblemError) || error.code !== 'late') throw error;
      this.onReportError(lateReason(error.problem)); // reserved under a lease that is gone
      throw this.#reason ?? error;
    }
  }

  mayI(question: MayIQuestion, options?: MayIOptions): Promise<MayIVerdict> {
    const { client_id, platform, lane, workflow, agent } = this.lease;
    const own = {
      clientId: client_id ?? undefined,
      platform: platform ?? undefined,
      lane: lane ?? undefined,
      workflow,
      agent: agent ?? undefined,
    };
    return this.#services.mayI.ask({ ...own, ...question }, options);
  }

  agentLog(log: AgentLog): Promise<Recorded> {
    return this.#services.recorder.agentLog({ ...this.#ids(), agent: this.lease.agent ?? undefined, ...log });
  }
  workflowFailure(failure: WorkflowFailure): Promise<Recorded> {
    const { workflow, retry_count } = this.lease;
    return this.#services.recorder.workflowFailure({ ...this.#ids(), workflow, retryAttempt: retry_count, ...failure });
  }
  auditEvent(event: AuditEvent): Promise<Recorded> {
    const { platform, lane } = this.lease;
    const own = { ...this.#ids(), platform: platform ?? undefined, lane: lane ?? undefined };
    return this.#services.recorder.auditEvent({ ...own, ...event });
  }

  #ids(): {
    runId: string;
    clientId?: string | undefined;
    requestId?: string | undefined;
    correlationId?: string | undefined;
  } {
    return {
      runId: this.lease.run_id,
      clientId: this.lease.client_id ?? undefined,
      requestId: this.lease.request_id ?? undefined,
      correlationId: this.lease.correlation_id ?? undefined,
    };
  }

  #suspend(op: 'sleep' | 'wait', members: object): never {
    this.suspension = { op, members };
    throw new Suspended();
  }

  // Whatever was reported before has arrived when this has. A question carries no usage, so what was used outside of
  // steps until now is told as a step of its own.
  async #beforeAsking(question: string): Promise<void> {
    const { tokens, costUsd } = this;
    if (tokens === 0 && costUsd === 0) return this.#confirmed('heartbeat', {});
    await this.#confirmed('step_complete', { name: `before ${question}`, tokens, cost_usd: costUsd });
    this.tokens -= tokens;
    this.costUsd -= costUsd;
  }

  // Reports, and throws the reason to stop when the lease is gone or the answer asks for it.
  async #confirmed(op: 'heartbeat' | 'step_complete', members: object): Promise<void> {
    try {
      this.onAnswer(await this.report(op, members));
    } catch (error) {
      if (isLate(error)) this.onReportError(error);
      throw this.#reason ?? error;
    }
    this.#guard();
  }

  // How long to wait before the step is tried again in place, when the server's policy for it says so.
  async #stepFailed(members: object): Promise<number | undefined> {
    try {
      const answer = await this.report('step_fail', members);
      this.onAnswer(answer);
      return answer.will_retry === true ? (answer.retry_after_ms ?? 0) : undefined;
    } catch (error) {
      this.onReportError(error);
      return undefined;
    }
  }

  async #complete(members: object): Promise<void> {
    try {
      this.onAnswer(await this.report('step_complete', members));
    } catch (error) {
      if (isLate(error)) this.stop(error);
      throw error;
    }
    this.#guard();
  }

  // Nothing new begins once the run is to stop.
  #guard(): void {
    if (this.#reason) throw this.#reason;
  }

  // The same name again within a run is another step: "fetch", "fetch#2", in the order of the calls.
  #unique(name: string): string {
    this.#seen ??= new Map();
    const count = (this.#seen.get(name) ?? 0) + 1;
    this.#seen.set(name, count);
    return count === 1 ? name : `${name}#${count}`;
  }

  #use(usage: Usage, step: { tokens: number; costUsd: number } | undefined): void {
    const sum = step ?? this;
    sum.tokens += usage.tokens ?? 0;
    sum.costUsd += usage.costUsd ?? 0;
  }

  #waitBeforeRetry(error: unknown, policy: RetryPolicy, retry: number, begin: number): number | undefined {
    const { clock } = this.#services.caller;
    if (this.#reason || retry >= policy.retriesMax || !isRetryable(error)) return undefined;
    const wait = Math.max(retryAfterOf(error, clock.wall()) ?? 0, fullJitterMs(policy, retry, clock.random()));
    return clock.now() - begin + wait > policy.elapsedMaxMs ? undefined : wait;
  }

  #line(stepId: number, stepName: string): { requestId: string; runId: string; stepId: number; stepName: string } {
    return { requestId: this.requestId, runId: this.lease.run_id, stepId, stepName };
  }

  #logFailed(step: number, name: string, durationMs: number, retry: number, error: unknown): void {
    const { logger } = this.#services;
    if (logger) logStepFailed(logger, { ...this.#line(step, name), durationMs }, this.lease.retry_count + retry, error);
  }
}
