// A piece of server data and the state it is in. Everything a widget shows comes out of one of these, so that no
// state can be forgotten: `view()` in ui/States.tsx takes the union apart.
import { signal, type Signal } from '@preact/signals';
import { Problem } from './api';

export type Loaded<T> =
  | { readonly state: 'idle' }
  | { readonly state: 'loading'; readonly since: number }
  | { readonly state: 'cancelled'; readonly retry: () => void } // by the person who waited
  | { readonly state: 'ready'; readonly value: T; readonly asOf: number; readonly refreshing: boolean }
  // The last good value, kept in sight while the server does not give a newer one.
  | {
      readonly state: 'stale';
      readonly value: T;
      readonly asOf: number;
      readonly problem: Problem;
      readonly retry: () => void;
    }
  | { readonly state: 'failed'; readonly problem: Problem; readonly retry: () => void };

export function valueOf<T>(loaded: Loaded<T>): T | undefined {
  return loaded.state === 'ready' || loaded.state === 'stale' ? loaded.value : undefined;
}

export class Resource<T> {
  readonly loaded: Signal<Loaded<T>> = signal<Loaded<T>>({ state: 'idle' });
  private key = '';
  private abort: AbortController | undefined;
  private again: () => void = () => undefined;

  // Loads what `key` names. Another key drops the old value; the same key keeps it in sight and refreshes it.
  // Whatever was under way is cancelled, so the answer shown is always that of the last call.
  async load(key: string, fetcher: (abort: AbortSignal) => Promise<T>): Promise<void> {
    this.abort?.abort();
    const abort = new AbortController();
    this.abort = abort;
    const before = this.loaded.peek();
    const kept = key === this.key ? valueOf(before) : undefined;
    const keptAt = before.state === 'ready' || before.state === 'stale' ? before.asOf : 0;
    this.key = key;
    const retry = () => void this.load(key, fetcher);
    this.again = retry;
    if (kept === undefined) this.loaded.value = { state: 'loading', since: Date.now() };
    else if (before.state === 'ready') this.loaded.value = { ...before, refreshing: true };
    try {
      const value = await fetcher(abort.signal);
      if (abort.signal.aborted) return;
      this.loaded.value = { state: 'ready', value, asOf: Date.now(), refreshing: false };
    } catch (error) {
      if (abort.signal.aborted) return;
      const problem = error instanceof Problem ? error : new Problem('server', describe(error), '', 0);
      this.loaded.value =
        kept === undefined
          ? { state: 'failed', problem, retry }
          : { state: 'stale', value: kept, asOf: keptAt, problem, retry };
    }
  }

  // Changes the value in place: another page, a line from the tail.
  update(change: (value: T) => T): void {
    const now = this.loaded.peek();
    if (now.state === 'ready' || now.state === 'stale') this.loaded.value = { ...now, value: change(now.value) };
  }

  cancel(): void {
    this.abort?.abort();
    this.abort = undefined;
    this.key = '';
    this.loaded.value = { state: 'cancelled', retry: this.again };
  }

  // Stops without clearing, for unmounting.
  stop(): void {
    this.abort?.abort();
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
