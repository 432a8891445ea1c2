export type { ApprovalDecision, ApprovalOptions } from './approval.ts';
export { Fettle, type FettleOptions } from './client.ts';
export type { CallOptions } from './call.ts';
export { type Clock, systemClock } from './clock.ts';
export { type Handler, RunContext } from './context.ts';
export type { EnqueueResult, EnqueuedRun, RunOptions } from './enqueue.ts';
export {
  CancelledError,
  EffectUnknownError,
  FatalError,
  FettleError,
  InvalidValueError,
  LeaseLostError,
  NotPerformedError,
  ProblemError,
  QueueFullError,
  RefusedError,
  RetryableError,
  ShutdownError,
  StoppedError,
  UnreachableError,
  errorObject,
  isRetryable,
} from './errors.ts';
export type { MayIOptions, MayIQuestion, MayIVerdict } from './may_i.ts';
export type { ObservedRun, StepScope, Usage } from './observed.ts';
export type { AgentLog, AuditEvent, Collection, Identifiers, Recorded, WorkflowFailure } from './records.ts';
export { CALL_RETRY, type RetryPolicy, fullJitterMs, retrying } from './retry.ts';
export type { Progress, StepOptions } from './run.ts';
export {
  type EffectOwner,
  Performed,
  type Proof,
  type SideEffectOptions,
  type SideEffectResult,
  type Verdict,
  payloadHash,
} from './side_effect.ts';
export { type Logger, type StepLine, logStepCompleted, logStepFailed, pinoStepOptions } from './step_log.ts';
export { type Carried, carriedNow, carrying } from './trace.ts';
export { type Worker, type WorkerOptions, type WorkerState } from './worker.ts';
export type { ErrorObject, Json, Problem, SwitchInfo } from './wire.ts';
