// The one way to the server. Paths, parameters and answers are those of types.gen.ts.
import { signal } from '@preact/signals';
import type { ApiGet } from './types.gen';

export type { Span, Log, DomainEvent, TraceOutline, KindSummary } from './types.gen';
export type Answer<P extends keyof ApiGet> = ApiGet[P]['answer'];
export type LogHistogram = Answer<'/api/v1/logs/histogram'>;
export type IngestStatus = Answer<'/api/v1/ingest/status'>;
export type QueryValues = Readonly<Record<string, string | number | undefined>>;

// Why a request did not bring an answer, fit for display.
export class Problem extends Error {
  constructor(
    readonly kind: 'network' | 'unauthorized' | 'forbidden' | 'missing' | 'refused' | 'busy' | 'server',
    message: string,
    readonly requestId: string,
    readonly retryAfterMs: number,
  ) {
    super(message);
  }
}

// The address of the server as index.html states it, so that a path prefix is known in one place.
export function prefix(): string {
  return new URL(document.baseURI).pathname.replace(/\/$/, '');
}

// A bearer token, when the server asks for one. It lives as long as the tab.
const TOKEN_KEY = 'fettle.token';
function stored(): string {
  try {
    return sessionStorage.getItem(TOKEN_KEY) ?? '';
  } catch {
    return '';
  }
}
export const token = signal(typeof sessionStorage === 'undefined' ? '' : stored());
export const needsToken = signal(false);
export function setToken(next: string): void {
  token.value = next;
  needsToken.value = false;
  try {
    sessionStorage.setItem(TOKEN_KEY, next);
  } catch {
    // A browser that forbids storage keeps it in memory alone.
  }
}

// The server's clock minus ours, from the Date header of the last answer: ages are counted on the server's clock.
export const clockOffsetMs = signal(0);
export function serverNow(): number {
  return Date.now() + clockOffsetMs.peek();
}

export function headers(): Record<string, string> {
  return token.peek() === '' ? {} : { Authorization: `Bearer ${token.peek()}` };
}

export function address(path: string, query: QueryValues | readonly (readonly [string, string])[] = {}): string {
  const search = new URLSearchParams();
  const pairs = Array.isArray(query) ? query : Object.entries(query as QueryValues);
  for (const [key, value] of pairs) if (value !== undefined && value !== '') search.append(key, String(value));
  const text = search.toString();
  return `${prefix()}${path}${text === '' ? '' : `?${text}`}`;
}

function kindOf(status: number): Problem['kind'] {
  if (status === 401) return 'unauthorized';
  if (status === 403) return 'forbidden';
  if (status === 404) return 'missing';
  if (status === 429 || status === 503) return 'busy';
  return status >= 500 ? 'server' : 'refused';
}

export async function problemOf(response: Response): Promise<Problem> {
  const requestId = response.headers.get('X-Request-Id') ?? '';
  const retryAfterMs = Number(response.headers.get('Retry-After') ?? 0) * 1000 || 0;
  let message = `The server answered ${response.status}.`;
  try {
    const body = (await response.json()) as { title?: string; detail?: string };
    message = body.detail || body.title || message;
  } catch {
    // Not problem+json: the status has to do.
  }
  if (response.status === 401) needsToken.value = true;
  return new Problem(kindOf(response.status), message, requestId, retryAfterMs);
}

function noteClock(response: Response, sentAt: number): void {
  const date = Date.parse(response.headers.get('Date') ?? '');
  if (Number.isNaN(date)) return;
  // The header has whole seconds and the answer was under way for a while: below 2 s there is nothing to say.
  const offset = date - (sentAt + Date.now()) / 2;
  clockOffsetMs.value = Math.abs(offset) < 2000 ? 0 : Math.round(offset);
}

// Sends what a person entered before anybody is known: signing in, and what stands behind a link. The answer's session is
// a cookie that scripts do not see.
export async function postPublic<T>(path: string, body: Readonly<Record<string, string>>): Promise<T> {
  let response: Response;
  try {
    response = await fetch(address(path), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
      body: JSON.stringify(body),
      credentials: 'same-origin',
    });
  } catch {
    throw new Problem('network', 'The server does not answer.', '', 0);
  }
  if (!response.ok) throw await problemOf(response);
  return (await response.json()) as T;
}

// Somebody has signed in: whatever was refused is asked again.
export const signedIn = signal(0);
export function noteSignedIn(): void {
  needsToken.value = false;
  signedIn.value += 1;
}

export async function get<P extends keyof ApiGet>(
  path: P,
  parts: Readonly<Record<string, string>>,
  query: QueryValues | readonly (readonly [string, string])[],
  abort?: AbortSignal,
): Promise<Answer<P>> {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(parts[name] ?? ''));
  const sentAt = Date.now();
  let response: Response;
  try {
    response = await fetch(address(filled, query), {
      headers: { Accept: 'application/json', ...headers() },
      signal: abort ?? null,
      credentials: 'same-origin',
    });
  } catch (error) {
    if (abort?.aborted) throw error;
    throw new Problem('network', 'The server does not answer.', '', 0);
  }
  if (!response.ok) throw await problemOf(response);
  noteClock(response, sentAt);
  try {
    return (await response.json()) as Answer<P>;
  } catch (error) {
    if (abort?.aborted) throw error;
    throw new Problem('network', 'The answer broke off before its end.', response.headers.get('X-Request-Id') ?? '', 0);
  }
}
