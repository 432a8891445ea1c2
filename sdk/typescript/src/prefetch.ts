// How many leases a worker may hold: as many as run at once, plus what it will begin within a moment.
//
// A worker whose runs take milliseconds would wait for the network after each if it held only what it runs. One whose
// runs take minutes must not sit on work that another could begin. So the reserve follows from how long runs take.
const BEGINS_WITHIN_MS = 100;
// Weight of the newest run in the average duration.
const NEWEST = 0.05;
// Below this a run's own duration says nothing: the worker is bound by its reports.
const DURATION_MS_MIN = 0.05;

export class Prefetch {
  readonly #concurrency: number;
  readonly #max: number;
  #durationMs: number | undefined;

  constructor(concurrency: number, max: number) {
    this.#concurrency = concurrency;
    this.#max = max;
  }

  // A handler has ended after `ms`.
  ran(ms: number): void {
    this.#durationMs = this.#durationMs === undefined ? ms : this.#durationMs + NEWEST * (ms - this.#durationMs);
  }

  // Leases held at once, at most; without a duration to go by, no reserve.
  limit(): number {
    if (this.#durationMs === undefined) return this.#concurrency;
    const reserve = Math.floor((this.#concurrency * BEGINS_WITHIN_MS) / Math.max(this.#durationMs, DURATION_MS_MIN));
    return this.#concurrency + Math.min(this.#max, reserve);
  }

  // The smallest request worth sending while `held` leases are held: any when there is nothing to do, else a fair part
  // of the limit, so that a busy worker does not ask for runs one by one.
  leastRequest(held: number): number {
    return held < this.#concurrency ? 1 : Math.max(1, Math.floor(this.limit() / 4));
  }
}
