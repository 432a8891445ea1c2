// What a handler is given: the run's payload and identifiers, and everything it can do while it holds the lease.
import type { ApprovalDecision, ApprovalOptions } from './approval.ts';
import type { MayIOptions, MayIQuestion, MayIVerdict } from './may_i.ts';
import type { StepScope, Usage } from './observed.ts';
import type { AgentLog, AuditEvent, Recorded, WorkflowFailure } from './records.ts';
import type { LeasedRun, Progress, StepOptions } from './run.ts';
import type { Performed, SideEffectOptions, SideEffectResult, Verdict } from './side_effect.ts';
import type { Json } from './wire.ts';

export type Handler<P extends Json = Json> = (run: RunContext<P>) => Promise<Json | void> | Json | void;

// Valid until the handler has returned. A handler may run several times: after a failure, after sleep(), waitFor() and
// approval(), and after its worker died. What it does outside of step() it does each time.
export class RunContext<P extends Json = Json> {
  readonly #run: LeasedRun;
  constructor(run: LeasedRun) {
    this.#run = run;
  }

  get runId(): string {
    return this.#run.lease.run_id;
  }
  get workflow(): string {
    return this.#run.lease.workflow;
  }
  // As it was enqueued; the type is the handler's word for it.
  get payload(): P {
    return (this.#run.lease.payload ?? null) as P;
  }
  // From 1.
  get attempt(): number {
    return this.#run.lease.attempt;
  }
  get retryCount(): number {
    return this.#run.lease.retry_count;
  }
  get clientId(): string | undefined {
    return this.#run.lease.client_id ?? undefined;
  }
  get platform(): string | undefined {
    return this.#run.lease.platform ?? undefined;
  }
  get lane(): string | undefined {
    return this.#run.lease.lane ?? undefined;
  }
  get agent(): string | undefined {
    return this.#run.lease.agent ?? undefined;
  }
  get jobId(): string | undefined {
    return this.#run.lease.job_id ?? undefined;
  }
  get requestId(): string {
    return this.#run.requestId;
  }
  get correlationId(): string | undefined {
    return this.#run.lease.correlation_id ?? undefined;
  }

  // Aborts with LeaseLostError, CancelledError, StoppedError (kill switch) or ShutdownError as its reason. Give it to
  // whatever takes a signal; after it, nothing that the handler does is applied.
  get signal(): AbortSignal {
    return this.#run.signal;
  }

  // Runs `body` once in the life of the run: after that, its result is remembered, and a retry gets it without
  // running it again. Results must be JSON. Names tell steps apart and must come in the same order each time.
  step<T>(name: string, body: (step: StepScope) => Promise<T> | T, options?: StepOptions): Promise<T> {
    return this.#run.step(name, body, options);
  }

  // Gives the worker free until a time (Date) or for some milliseconds; survives restarts of everything.
  sleep(until: number | Date, name?: string): Promise<void> {
    return this.#run.sleep(until, name);
  }

  // Gives the worker free until the event is posted; its payload, or undefined after `timeoutMs`.
  waitFor(event: string, options?: { timeoutMs?: number; key?: string; name?: string }): Promise<Json | undefined> {
    return this.#run.waitFor(event, options);
  }

  // Asks a person, once, and gives the worker free until the decision or until the question has expired. Every later
  // attempt gets the same decision. Questions of the same name in one run are told apart by the order of the calls.
  approval(name: string, options: ApprovalOptions): Promise<ApprovalDecision> {
    return this.#run.approval(name, options);
  }

  // A line on the run's record.
  log(level: 'debug' | 'info' | 'warn' | 'error', message: string, payload?: Json): void {
    this.#run.tell('log', { level, message, payload });
  }

  // That the work moves on. Travels with the next heartbeat; a run that says nothing for long counts as stalled.
  progress(progress: Progress): void {
    this.#run.progressed = progress;
  }

  // What was used outside of a step.
  usage(usage: Usage): void {
    this.#run.usage(usage);
  }

  // Performs something visible at most once: see side_effect.ts for the states. `verify` looks whether it is visible.
  sideEffect<T extends Json>(
    options: SideEffectOptions,
    perform: () => Promise<T | Performed<T>> | T | Performed<T>,
    verify?: () => Promise<Verdict> | Verdict,
  ): Promise<SideEffectResult<T>> {
    return this.#run.sideEffect(options, perform, verify);
  }

  // The run's client, platform, lane, workflow and agent are filled in.
  mayI(question: MayIQuestion = {}, options?: MayIOptions): Promise<MayIVerdict> {
    return this.#run.mayI(question, options);
  }

  // As on the client, with the run's identifiers filled in.
  logAgentFailure(log: AgentLog): Promise<Recorded> {
    return this.#run.agentLog(log);
  }
  logWorkflowFailure(failure: WorkflowFailure): Promise<Recorded> {
    return this.#run.workflowFailure(failure);
  }
  logAuditEvent(event: AuditEvent): Promise<Recorded> {
    return this.#run.auditEvent(event);
  }
}
