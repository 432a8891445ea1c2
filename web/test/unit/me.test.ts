import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { setToken } from '../../src/data/api';
import { startMe } from '../../src/data/me';

const answer = (workspace: string) =>
  new Response(JSON.stringify({ workspace, name: 'n', scopes: ['read'], clients: null, development: false }));

describe('who the token is', () => {
  const asked: string[] = [];
  let answers: (() => Promise<Response>)[] = [];
  const seen: string[] = [];
  let stop: () => void = () => undefined;
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal('document', { baseURI: 'http://fettle/' });
    vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
      asked.push(`${url} ${(init.headers as Record<string, string>)['Authorization'] ?? ''}`);
      return (answers.shift() ?? (() => Promise.reject(new TypeError('no more answers'))))();
    });
    asked.length = 0;
    seen.length = 0;
    setToken('');
  });
  afterEach(() => {
    stop();
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });
  const start = () => {
    stop = startMe((me) => seen.push(me.workspace));
    return vi.advanceTimersByTimeAsync(0);
  };

  it('is asked of the server and not assumed', async () => {
    answers = [() => Promise.resolve(answer('acme'))];
    await start();
    expect(asked).toEqual(['/api/v1/me ']);
    expect(seen).toEqual(['acme']);
  });
  it('is asked again with another token', async () => {
    answers = [() => Promise.resolve(new Response('{}', { status: 401 })), () => Promise.resolve(answer('globex'))];
    await start();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(1);
    setToken('t');
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toEqual(['/api/v1/me ', '/api/v1/me Bearer t']);
    expect(seen).toEqual(['globex']);
  });
  it('is asked until the server answers', async () => {
    answers = [
      () => Promise.reject(new TypeError('refused')),
      () => Promise.resolve(new Response('{}', { status: 503 })),
      () => Promise.resolve(answer('acme')),
    ];
    await start();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(asked).toHaveLength(3);
    expect(seen).toEqual(['acme']);
  });
  it('is not asked after the end', async () => {
    answers = [() => Promise.reject(new TypeError('refused'))];
    await start();
    stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(1);
  });
});
