// One HTTP/1.1 exchange over kept-alive connections. Knows nothing of routes, retries or problems.
//
// Built on node:http and not on fetch, which takes about three times the CPU per request and cannot bound its
// connections.
import * as http from 'node:http';
import * as https from 'node:https';
import type { Clock } from './clock.ts';
import { FettleError, UnreachableError } from './errors.ts';

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string; // with query
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  // From the call to the last byte of the answer.
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  // A request that the server answers late on purpose; it has connections of its own, so it delays nothing else.
  readonly longPoll?: boolean;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export interface TransportOptions {
  readonly url: string;
  readonly token?: string | undefined;
  readonly clock: Clock;
  readonly connectionsMax: number;
  readonly answerBytesMax: number;
}

class StaleConnectionError extends UnreachableError {}
const STALE = new Set(['ECONNRESET', 'EPIPE']);

export class Transport {
  readonly #options: TransportOptions;
  readonly #base: URL;
  readonly #prefix: string;
  readonly #agent: http.Agent;
  readonly #pollAgent: http.Agent;
  readonly #start: typeof http.request;

  constructor(options: TransportOptions) {
    this.#options = options;
    let base: URL;
    try {
      base = new URL(options.url);
    } catch (error) {
      throw new FettleError('invalid_url', `${JSON.stringify(options.url)} is not a URL`, { cause: error });
    }
    if (base.protocol !== 'http:' && base.protocol !== 'https:') {
      throw new FettleError('invalid_url', `${options.url}: only http and https`);
    }
    this.#base = base;
    this.#prefix = base.pathname.replace(/\/+$/, '');
    const library = base.protocol === 'https:' ? https : http;
    this.#start = library.request as typeof http.request;
    this.#agent = new library.Agent({ keepAlive: true, maxSockets: options.connectionsMax, scheduling: 'lifo' });
    this.#pollAgent = new library.Agent({ keepAlive: true, maxSockets: 64, scheduling: 'lifo' });
  }

  // Throws UnreachableError when there is no answer, and the signal's reason when that aborts first.
  async send(request: HttpRequest): Promise<HttpAnswer> {
    try {
      return await this.#exchange(request);
    } catch (error) {
      // The server closed a kept connection while the request was on its way into it: no sign of trouble, so again
      // at once, and once. A request may be repeated like any whose answer was lost (call.ts).
      if (error instanceof StaleConnectionError) return this.#exchange(request);
      throw error;
    }
  }

  #exchange(request: HttpRequest): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const { signal } = request;
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const headers: Record<string, string | number> = { accept: 'application/json', ...request.headers };
      if (this.#options.token) headers['authorization'] = `Bearer ${this.#options.token}`;
      // As bytes: a long string is written to the socket several times slower.
      const bytes = request.body === undefined ? undefined : Buffer.from(request.body);
      if (bytes) {
        headers['content-type'] = 'application/json';
        headers['content-length'] = bytes.length;
      } else if (request.method !== 'GET') {
        headers['content-length'] = 0;
      }
      const what = `${request.method} ${this.#base.origin}${this.#prefix}${request.path}`;
      const outgoing = this.#start({
        agent: request.longPoll ? this.#pollAgent : this.#agent,
        protocol: this.#base.protocol,
        hostname: this.#base.hostname.replace(/^\[|\]$/g, ''),
        port: this.#base.port,
        method: request.method,
        path: this.#prefix + request.path,
        headers,
      });
      let settled = false;
      let answering = false;
      const settle = (): boolean => {
        if (settled) return false;
        settled = true;
        cancelTimer();
        signal?.removeEventListener('abort', onAbort);
        return true;
      };
      const fail = (error: Error): void => {
        if (!settle()) return;
        outgoing.destroy();
        const stale = outgoing.reusedSocket && !answering && STALE.has((error as { code?: string }).code ?? '');
        const Reason = stale ? StaleConnectionError : UnreachableError;
        reject(new Reason(`${what}: ${error.message || (error as { code?: string }).code}`, { cause: error }));
      };
      const onAbort = (): void => {
        if (!settle()) return;
        outgoing.destroy();
        reject(signal?.reason);
      };
      const cancelTimer = this.#options.clock.after(request.timeoutMs, () =>
        fail(new Error(`no answer within ${request.timeoutMs} ms`)),
      );
      signal?.addEventListener('abort', onAbort, { once: true });
      outgoing.on('error', fail);
      outgoing.on('response', (incoming) => {
        answering = true;
        const chunks: Buffer[] = [];
        let bytes = 0;
        incoming.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > this.#options.answerBytesMax)
            fail(new Error(`the answer exceeds ${this.#options.answerBytesMax} bytes`));
          else chunks.push(chunk);
        });
        incoming.on('aborted', () => fail(new Error('the connection was cut within the answer')));
        incoming.on('error', fail);
        incoming.on('end', () => {
          if (!settle()) return;
          const body = chunks.length === 1 ? (chunks[0] as Buffer).toString() : Buffer.concat(chunks).toString();
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body });
        });
      });
      outgoing.end(bytes);
    });
  }

  close(): void {
    this.#agent.destroy();
    this.#pollAgent.destroy();
  }
}
