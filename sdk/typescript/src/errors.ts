// Every way in which this SDK fails, and what a failure of somebody else's code means for a retry.
import type { ErrorObject, Problem, SwitchInfo } from './wire.ts';

// The root of all errors of the SDK. `code` is stable; messages are for people.
export class FettleError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

// The server answered with a problem document (RFC 9457).
export class ProblemError extends FettleError {
  readonly status: number;
  readonly requestId: string;
  readonly retryAfterMs: number | undefined;
  readonly problem: Problem;
  constructor(status: number, problem: Problem, requestId: string, retryAfterMs?: number) {
    super(problem.code ?? `http_${status}`, problem.detail ?? problem.title ?? `the server answered ${status}`);
    this.status = status;
    this.problem = problem;
    this.requestId = requestId;
    this.retryAfterMs = retryAfterMs;
  }
}

// No answer: refused, reset, timed out, or not HTTP. Whether the request took effect is unknown.
export class UnreachableError extends FettleError {
  constructor(message: string, options?: ErrorOptions) {
    super('unreachable', message, options);
  }
}

// A queue inside the SDK is full. Nothing was sent.
export class QueueFullError extends FettleError {
  constructor(message: string) {
    super('queue_full', message);
  }
}

// The value could not become JSON, or is too large for the server's limit. Nothing was sent.
export class InvalidValueError extends FettleError {
  constructor(message: string, options?: ErrorOptions) {
    super('invalid_value', message, options);
  }
}

// Throw it from a handler or step: the failure may pass, try again (not before `retryAfterMs`).
export class RetryableError extends FettleError {
  readonly retryAfterMs: number | undefined;
  constructor(message: string, options: ErrorOptions & { code?: string; retryAfterMs?: number } = {}) {
    super(options.code ?? 'retryable', message, options);
    this.retryAfterMs = options.retryAfterMs;
  }
}

// Throw it from a handler or step: trying again cannot help; the run goes to the dead letters at once.
export class FatalError extends FettleError {
  constructor(message: string, options: ErrorOptions & { code?: string } = {}) {
    super(options.code ?? 'fatal', message, options);
  }
}

// Reasons of a run's AbortSignal. A handler that throws its signal's reason has behaved well.
export class LeaseLostError extends FettleError {
  constructor(message = 'the lease is lost: another worker may have the run') {
    super('lease_lost', message);
  }
}
export class CancelledError extends FettleError {
  constructor(message = 'the run was cancelled') {
    super('cancelled', message);
  }
}
export class StoppedError extends FettleError {
  readonly killSwitch: SwitchInfo;
  constructor(killSwitch: SwitchInfo) {
    super('stopped', `a kill switch stopped the run${killSwitch.reason ? `: ${killSwitch.reason}` : ''}`);
    this.killSwitch = killSwitch;
  }
}
// What a report is answered with when the lease it speaks of is gone.
export function isLate(error: unknown): error is LeaseLostError | StoppedError | CancelledError {
  return error instanceof LeaseLostError || error instanceof StoppedError || error instanceof CancelledError;
}
// Why a lease is gone, where somebody decided so.
export function lateReason(problem: Problem): LeaseLostError | StoppedError | CancelledError {
  if (problem['stop']) return new StoppedError(problem['stop'] as SwitchInfo);
  if (problem['cancel'] === true) return new CancelledError();
  return new LeaseLostError(problem.detail);
}
export class ShutdownError extends FettleError {
  constructor(message = 'the worker is shutting down') {
    super('shutdown', message);
  }
}

// A kill switch, a policy or a plan forbids the side effect. It was not performed.
export class RefusedError extends FettleError {
  readonly details: unknown;
  constructor(message: string, details: unknown) {
    super('refused', message);
    this.details = details;
  }
}

// Whether the side effect is visible to the world is unknown, and it was not tried again. A person sees it listed.
export class EffectUnknownError extends FettleError {
  readonly sideEffectId: string;
  constructor(sideEffectId: string, message: string, options?: ErrorOptions) {
    super('effect_unknown', message, options);
    this.sideEffectId = sideEffectId;
  }
}

// Throw it from `perform` when it is certain that nothing became visible: the reservation is released.
export class NotPerformedError extends FettleError {
  constructor(message: string, options?: ErrorOptions) {
    super('not_performed', message, options);
  }
}

const RETRYABLE_STATUS = new Set([408, 425, 429, 500, 502, 503, 504, 529]);
const RETRYABLE_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'API_TIMEOUT',
  'RATE_LIMITED',
  'ABORT_ERR',
]);

export function retryableStatus(status: number): boolean {
  return RETRYABLE_STATUS.has(status);
}

type Loose = Readonly<Record<string, unknown>>;

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

// The HTTP status that an error of a common HTTP client carries, if it does.
function statusOf(error: Loose): number | undefined {
  const response = error['response'] as Loose | undefined;
  return numberOf(error['status']) ?? numberOf(error['statusCode']) ?? numberOf(response?.['status']);
}

// Retry or not: said by the error's class, else by its HTTP status, else by its code, its name and its cause. What
// says nothing is retried: a run that is tried in vain costs less than one that is given up in vain.
export function isRetryable(error: unknown): boolean {
  if (error instanceof RetryableError || error instanceof UnreachableError || error instanceof QueueFullError)
    return true;
  if (error instanceof FatalError || error instanceof InvalidValueError || error instanceof RefusedError) return false;
  if (error instanceof CancelledError) return false;
  if (typeof error !== 'object' || error === null) return true;
  const loose = error as Loose;
  if (typeof loose['retryable'] === 'boolean') return loose['retryable'];
  const status = statusOf(loose);
  if (status !== undefined && status >= 400) return retryableStatus(status);
  if (typeof loose['code'] === 'string' && RETRYABLE_CODES.has(loose['code'])) return true;
  if (loose['name'] === 'TimeoutError') return true;
  // A mistake in the program, or input that no repetition makes valid.
  if (error instanceof SyntaxError || error instanceof TypeError || error instanceof RangeError) {
    return error.cause instanceof Error ? isRetryable(error.cause) : false;
  }
  if (error instanceof ReferenceError || loose['name'] === 'ValidationError' || loose['name'] === 'ZodError')
    return false;
  return true;
}

// How long the other side asked us to wait: our own member, or a Retry-After header of a common HTTP client's error.
export function retryAfterOf(error: unknown, wallMs: number): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const loose = error as Loose;
  const own = numberOf(loose['retryAfterMs']);
  if (own !== undefined) return own;
  const headers = (loose['headers'] ?? (loose['response'] as Loose | undefined)?.['headers']) as
    { get?: (name: string) => string | null } | Loose | undefined;
  if (headers === undefined || headers === null) return undefined;
  const read = (name: string): string | undefined => {
    const get = (headers as { get?: unknown }).get;
    const value = typeof get === 'function' ? get.call(headers, name) : (headers as Loose)[name];
    return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
  };
  const inMs = read('retry-after-ms');
  if (inMs !== undefined && /^\d+$/.test(inMs)) return Number(inMs);
  return parseRetryAfter(read('retry-after'), wallMs);
}

// Retry-After as delay-seconds or as a date (RFC 9110, 10.2.3). A past date is 0; nonsense is as if absent.
export function parseRetryAfter(value: string | undefined, wallMs: number): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  const at = /[a-z]/i.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - wallMs);
}

const STACK_CHARACTERS_MAX = 8192;
const MESSAGE_CHARACTERS_MAX = 4096;

// An error as the server stores it. Causes are folded into the stack, as people read them in a log.
export function errorObject(error: unknown, wallMs: number): ErrorObject {
  const retryable = isRetryable(error);
  const retryAfterMs = retryAfterOf(error, wallMs);
  const hint = retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs };
  if (!(error instanceof Error)) {
    const message = typeof error === 'string' ? error : (JSON.stringify(error) ?? String(error));
    return { type: typeof error, message: message.slice(0, MESSAGE_CHARACTERS_MAX), retryable, ...hint };
  }
  const loose = error as unknown as Loose;
  const code = loose['code'];
  const status = statusOf(loose);
  let stack = error.stack ?? '';
  let cause: unknown = error.cause;
  for (let depth = 0; depth < 4 && cause instanceof Error; depth++, cause = cause.cause) {
    stack += `\ncaused by: ${cause.stack ?? cause.message}`;
  }
  return {
    type: error.name,
    message: error.message.slice(0, MESSAGE_CHARACTERS_MAX),
    ...(typeof code === 'string' || typeof code === 'number' ? { code: String(code) } : {}),
    stack: stack.slice(0, STACK_CHARACTERS_MAX),
    ...(status === undefined ? {} : { status }),
    retryable,
    ...hint,
  };
}
