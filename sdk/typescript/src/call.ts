// A call of the API: JSON in and out, an idempotency key on what changes something, retry, problems as errors.
import { randomUUID } from 'node:crypto';
import type { Clock } from './clock.ts';
import { ProblemError, UnreachableError, parseRetryAfter, retryableStatus } from './errors.ts';
import { CALL_RETRY, type RetryPolicy, retrying } from './retry.ts';
import { type HttpAnswer, Transport } from './transport.ts';
import type { Problem } from './wire.ts';

export interface CallOptions {
  // The same key makes the server answer a repetition as it answered the first time. Made up when absent; the tries
  // of one call share it either way.
  readonly idempotencyKey?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number;
  readonly retry?: RetryPolicy;
  readonly longPoll?: boolean;
}

export interface CallerOptions {
  readonly url: string;
  readonly token?: string | undefined;
  readonly clock: Clock;
  readonly retry?: RetryPolicy | undefined;
  readonly timeoutMs?: number | undefined;
  readonly connectionsMax?: number | undefined;
}

const TIMEOUT_MS = 10_000;
// Few: what is sent often is sent in batches, and a request more is a commit more for the server.
const CONNECTIONS_MAX = 8;
// Above the largest answer of the API, a full batch of leases with payloads.
const ANSWER_BYTES_MAX = 256 * 1024 * 1024;

export class Caller {
  readonly clock: Clock;
  readonly #transport: Transport;
  readonly #retry: RetryPolicy;
  readonly #timeoutMs: number;

  constructor(options: CallerOptions) {
    this.clock = options.clock;
    this.#retry = options.retry ?? CALL_RETRY;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.#transport = new Transport({
      url: options.url,
      token: options.token,
      clock: options.clock,
      connectionsMax: options.connectionsMax ?? CONNECTIONS_MAX,
      answerBytesMax: ANSWER_BYTES_MAX,
    });
  }

  get<T>(path: string, options: CallOptions = {}): Promise<T> {
    return this.#call<T>('GET', path, undefined, options);
  }

  // `body` is JSON text, so that a caller who already has it does not write it twice.
  post<T>(path: string, body: string, options: CallOptions = {}): Promise<T> {
    return this.#call<T>('POST', path, body, options);
  }

  delete<T>(path: string, options: CallOptions = {}): Promise<T> {
    return this.#call<T>('DELETE', path, undefined, options);
  }

  close(): void {
    this.#transport.close();
  }

  async #call<T>(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    body: string | undefined,
    options: CallOptions,
  ): Promise<T> {
    const headers: Record<string, string> = {};
    // A structured-field string (the draft's form): quoted. What could end the quotes is not a key's business.
    if (method !== 'GET') {
      const key = (options.idempotencyKey ?? randomUUID()).replace(/[^\x21\x23-\x5b\x5d-\x7e]/g, '_');
      headers['idempotency-key'] = `"${key}"`;
    }
    return retrying(
      this.clock,
      options.retry ?? this.#retry,
      async () => {
        const answer = await this.#transport.send({
          method,
          path,
          headers,
          timeoutMs: options.timeoutMs ?? this.#timeoutMs,
          signal: options.signal,
          ...(body === undefined ? {} : { body }),
          ...(options.longPoll ? { longPoll: true } : {}),
        });
        return this.#read<T>(answer, `${method} ${path}`);
      },
      { signal: options.signal, may: mayRepeat },
    );
  }

  #read<T>(answer: HttpAnswer, what: string): T {
    const good = answer.status >= 200 && answer.status < 300;
    let value: unknown;
    try {
      value = answer.body === '' ? undefined : JSON.parse(answer.body);
    } catch (error) {
      // A proxy's page, or an answer cut short.
      if (good) throw new UnreachableError(`${what}: the answer is not JSON`, { cause: error });
      value = undefined;
    }
    if (good) return value as T;
    const problem = (
      typeof value === 'object' && value !== null ? value : { title: `${what}: ${answer.status}` }
    ) as Problem;
    const requestId = answer.headers['x-request-id'];
    const retryAfterMs = parseRetryAfter(answer.headers['retry-after'], this.clock.wall());
    throw new ProblemError(answer.status, problem, typeof requestId === 'string' ? requestId : '', retryAfterMs);
  }
}

// Every call that changes something carries a key, so a repetition is safe even when the first try took effect. 409
// says that the first try is still under way.
function mayRepeat(error: unknown): boolean {
  if (error instanceof UnreachableError) return true;
  if (!(error instanceof ProblemError)) return false;
  return retryableStatus(error.status) || (error.status === 409 && error.retryAfterMs !== undefined);
}

// A result of a batch that says "no", as an error.
export function itemError(answer: { readonly ok: boolean; readonly error?: Problem }): ProblemError | undefined {
  if (answer.ok) return undefined;
  const problem = answer.error ?? { title: 'refused' };
  return new ProblemError(problem.status ?? 400, problem, problem.request_id ?? '');
}

// The answer to a request with one item may be the bare result; one shape for both.
export function results<T>(answer: { readonly results?: readonly T[] }): readonly T[] {
  return answer.results ?? [];
}
