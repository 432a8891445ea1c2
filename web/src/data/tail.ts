// The live tail of logs: one connection while a visible page asks for it, resumed where it broke off.
import { signal, type Signal } from '@preact/signals';
import { SseParser } from '../lib/sse';
import { address, headers, problemOf, type Log, type Problem } from './api';

export type TailState =
  | { readonly state: 'off' }
  | { readonly state: 'connecting' }
  | { readonly state: 'following' }
  | { readonly state: 'reconnecting'; readonly since: number }
  | { readonly state: 'refused'; readonly problem: Problem };

const RETRY_MS = [500, 1000, 2000, 5000];
const SILENCE_MS = 20_000; // the server says something at least every 15 s

export class Tail {
  readonly state: Signal<TailState> = signal<TailState>({ state: 'off' });
  private abort: AbortController | undefined;

  start(
    query: readonly (readonly [string, string])[],
    onLogs: (logs: readonly Log[]) => void,
    onDropped: (count: number) => void,
  ): void {
    this.stop();
    const abort = new AbortController();
    this.abort = abort;
    this.state.value = { state: 'connecting' };
    void this.run(query, onLogs, onDropped, abort.signal);
  }

  stop(): void {
    this.abort?.abort();
    this.abort = undefined;
    this.state.value = { state: 'off' };
  }

  private async run(
    query: readonly (readonly [string, string])[],
    onLogs: (logs: readonly Log[]) => void,
    onDropped: (count: number) => void,
    stopped: AbortSignal,
  ): Promise<void> {
    const parser = new SseParser();
    for (let attempt = 0; !stopped.aborted; attempt += 1) {
      const quiet = new AbortController();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const heard = () => {
        clearTimeout(timer);
        timer = setTimeout(() => quiet.abort(), SILENCE_MS);
      };
      try {
        heard();
        const response = await fetch(address('/api/v1/logs/tail', query), {
          headers: {
            Accept: 'text/event-stream',
            ...headers(),
            ...(parser.lastId ? { 'Last-Event-ID': parser.lastId } : {}),
          },
          signal: AbortSignal.any([stopped, quiet.signal]),
          cache: 'no-store',
        });
        if (!response.ok || !response.body) {
          const problem = await problemOf(response);
          if (response.status < 500 && response.status !== 429) {
            this.state.value = { state: 'refused', problem };
            return;
          }
          throw problem;
        }
        this.state.value = { state: 'following' };
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          attempt = 0;
          heard();
          const logs: Log[] = [];
          for (const event of parser.push(value)) {
            if (event.event === 'log') logs.push(JSON.parse(event.data) as Log);
            else if (event.event === 'dropped') onDropped((JSON.parse(event.data) as { count: number }).count);
          }
          if (logs.length > 0) onLogs(logs);
        }
      } catch {
        if (stopped.aborted) return;
      } finally {
        clearTimeout(timer);
      }
      if (stopped.aborted) return;
      const now = this.state.peek();
      this.state.value = { state: 'reconnecting', since: now.state === 'reconnecting' ? now.since : Date.now() };
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]));
    }
  }
}
