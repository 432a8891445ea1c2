// Folds calls made close together into one request, without a timer.
//
// While fewer than `inFlightMax` requests are under way, what was added during one turn of the event loop leaves at
// the end of that turn; otherwise it waits for a request to come back, and leaves with everything that has gathered
// meanwhile. So an idle client adds no delay, and a busy one sends few large requests. When all that was under way has
// come back at once, what its callers add leaves in halves: the server stores one while the other is made, and from
// then on both sides work. Order is kept when `inFlightMax` is 1.
//
// A batch is bounded by items and bytes, and so is the queue before it: past that, add() is refused. Every caller
// gets the result or the error of its own item.
import { InvalidValueError, ProblemError, QueueFullError } from './errors.ts';

export interface BatcherOptions<Answer> {
  readonly name: string;
  readonly itemsMax: number;
  readonly bytesMax: number;
  readonly queueItemsMax: number;
  readonly queueBytesMax: number;
  readonly inFlightMax: number;
  // Sends the items (each as JSON text) and answers with one answer per item, in their order.
  readonly send: (items: readonly string[]) => Promise<readonly Answer[]>;
  // The error of an answer, when it is one.
  readonly errorOf: (answer: Answer) => Error | undefined;
}

// A half is worth a request of its own from here on.
const HALF_MIN = 16;

interface Entry<Answer> {
  readonly json: string;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

// Text of one JSON value, or InvalidValueError: BigInt, cycles, undefined.
export function jsonOf(value: unknown, what: string): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    throw new InvalidValueError(`${what} cannot be written as JSON: ${(error as Error).message}`, { cause: error });
  }
  if (text === undefined) throw new InvalidValueError(`${what} cannot be written as JSON: ${typeof value}`);
  return text;
}

export class Batcher<Answer> {
  readonly #options: BatcherOptions<Answer>;
  #queue: Entry<Answer>[] = [];
  #queueBytes = 0;
  #inFlight = 0;
  #scheduled = false;
  #idle: (() => void)[] = [];

  constructor(options: BatcherOptions<Answer>) {
    this.#options = options;
  }

  // Items that wait or are under way.
  get pending(): number {
    return this.#queue.length + this.#underWay;
  }
  #underWay = 0;

  add(json: string): Promise<Answer> {
    const { name, bytesMax, queueItemsMax, queueBytesMax } = this.#options;
    if (json.length > bytesMax) {
      return Promise.reject(new InvalidValueError(`${name}: ${json.length} characters, at most ${bytesMax} fit`));
    }
    if (this.#queue.length >= queueItemsMax || this.#queueBytes + json.length > queueBytesMax) {
      const held = `${this.#queue.length} items and ${this.#queueBytes} characters wait`;
      return Promise.reject(new QueueFullError(`${name}: the queue is full: ${held}`));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ json, resolve, reject });
      this.#queueBytes += json.length;
      if (!this.#scheduled && this.#inFlight < this.#options.inFlightMax) this.#schedule(1);
    });
  }

  // Resolves when nothing waits and nothing is under way.
  drained(): Promise<void> {
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #schedule(parts: number): void {
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush(parts);
    });
  }

  #flush(parts: number): void {
    const { inFlightMax } = this.#options;
    const halved = parts > 1 && this.#inFlight === 0 && this.#queue.length >= 2 * HALF_MIN;
    const most = halved ? Math.ceil(this.#queue.length / parts) : this.#queue.length;
    while (this.#queue.length > 0 && this.#inFlight < inFlightMax) {
      const batch = this.#take(most);
      this.#inFlight++;
      this.#underWay += batch.length;
      void this.#deliver(batch).finally(() => {
        this.#inFlight--;
        this.#underWay -= batch.length;
        // The callers just answered run first, so that what they add travels in the next request.
        if (!this.#scheduled) this.#schedule(Math.min(inFlightMax, 2));
        if (this.pending === 0) for (const wake of this.#idle.splice(0)) wake();
      });
    }
  }

  #take(most: number): Entry<Answer>[] {
    const { bytesMax } = this.#options;
    const itemsMax = Math.min(this.#options.itemsMax, most);
    let count = 0;
    let bytes = 0;
    for (const entry of this.#queue) {
      if (count >= itemsMax || (count > 0 && bytes + entry.json.length > bytesMax)) break;
      bytes += entry.json.length + 1;
      this.#queueBytes -= entry.json.length;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  // Never rejects. A batch that is refused as a whole for what it holds is sent again in halves, so that one bad item
  // does not take its neighbours along.
  async #deliver(batch: readonly Entry<Answer>[]): Promise<void> {
    let answers: readonly Answer[];
    try {
      answers = await this.#options.send(batch.map((entry) => entry.json));
    } catch (error) {
      const forItsContent = error instanceof ProblemError && [400, 413, 422].includes(error.status);
      if (forItsContent && batch.length > 1) {
        const half = batch.length >> 1;
        await this.#deliver(batch.slice(0, half));
        await this.#deliver(batch.slice(half));
        return;
      }
      for (const entry of batch) entry.reject(error);
      return;
    }
    for (const [at, entry] of batch.entries()) {
      const answer = answers[at];
      if (answer === undefined) {
        entry.reject(
          new InvalidValueError(`${this.#options.name}: the server answered ${answers.length} of ${batch.length}`),
        );
        continue;
      }
      const error = this.#options.errorOf(answer);
      if (error) entry.reject(error);
      else entry.resolve(answer);
    }
  }
}
