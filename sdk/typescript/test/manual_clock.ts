// A clock that moves only when told to.
import type { Clock } from '../src/clock.ts';

interface Timer {
  readonly at: number;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  #now = 0;
  #timers: Timer[] = [];
  // Answers of random(), first to last, then 0.5 for ever.
  readonly chances: number[] = [];

  now(): number {
    return this.#now;
  }
  wall(): number {
    return Date.UTC(2026, 0, 1) + this.#now;
  }
  random(): number {
    return this.chances.shift() ?? 0.5;
  }
  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  // What is pending, as milliseconds from now.
  get pending(): number[] {
    return this.#timers.map((timer) => timer.at - this.#now).sort((a, b) => a - b);
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#now = due.at;
      due.run();
    }
    this.#now = end;
  }
}

const TURNS_MAX = 200_000;

// Lets the event loop turn until `probe` holds. Not a wait for time: the network of this machine needs turns only.
export async function until(what: string, probe: () => boolean): Promise<void> {
  for (let turn = 0; turn < TURNS_MAX; turn++) {
    if (probe()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`gave up waiting until ${what}`);
}

// A promise that somebody else settles.
export interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}
export function gate(): Gate {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}
