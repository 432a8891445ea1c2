import { describe, expect, it } from 'vitest';
import { Problem } from '../../src/data/api';
import { Resource, valueOf } from '../../src/data/resource';

const refuse = () => Promise.reject(new Problem('server', 'no', 'r-1', 0));

describe('a resource', () => {
  it('is loading, then ready', async () => {
    const r = new Resource<number>();
    const done = r.load('a', () => Promise.resolve(1));
    expect(r.loaded.value.state).toBe('loading');
    await done;
    expect(r.loaded.value).toMatchObject({ state: 'ready', value: 1, refreshing: false });
  });
  it('keeps the last good value in sight when the same question fails', async () => {
    const r = new Resource<number>();
    await r.load('a', () => Promise.resolve(1));
    await r.load('a', refuse);
    expect(r.loaded.value).toMatchObject({ state: 'stale', value: 1, problem: { requestId: 'r-1' } });
  });
  it('drops the value of another question', async () => {
    const r = new Resource<number>();
    await r.load('a', () => Promise.resolve(1));
    await r.load('b', refuse);
    expect(r.loaded.value.state).toBe('failed');
    expect(valueOf(r.loaded.value)).toBeUndefined();
  });
  it('shows the answer to the last question, whichever comes first', async () => {
    const r = new Resource<number>();
    let late: (n: number) => void = () => undefined;
    const slow = r.load('a', () => new Promise<number>((resolve) => (late = resolve)));
    await r.load('b', () => Promise.resolve(2));
    late(1);
    await slow;
    expect(valueOf(r.loaded.value)).toBe(2);
  });
  it('can be tried again', async () => {
    const r = new Resource<number>();
    let fails = true;
    await r.load('a', () => (fails ? refuse() : Promise.resolve(3)));
    fails = false;
    const { loaded } = r;
    if (loaded.value.state === 'failed') loaded.value.retry();
    await Promise.resolve();
    await new Promise((resolve) => setTimeout(resolve));
    expect(valueOf(loaded.value)).toBe(3);
  });
  it('changes in place only when there is something', async () => {
    const r = new Resource<number>();
    r.update((n) => n + 1);
    expect(r.loaded.value.state).toBe('idle');
    await r.load('a', () => Promise.resolve(1));
    r.update((n) => n + 1);
    expect(valueOf(r.loaded.value)).toBe(2);
  });
});
