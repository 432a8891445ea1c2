// What a worker tells the server about its runs: everything of one turn of the event loop, of all runs, in one request.
//
// One request at a time, so a run's reports arrive in the order in which they were made. A report whose run's lease
// is gone comes back as late; the server keeps it and applies nothing.
import { Batcher, jsonOf } from './batcher.ts';
import type { Caller } from './call.ts';
import { ProblemError, lateReason } from './errors.ts';
import type { ItemAnswer, ReportAnswer } from './wire.ts';

export type ReportOp =
  | 'heartbeat'
  | 'step_start'
  | 'step_complete'
  | 'step_fail'
  | 'complete'
  | 'fail'
  | 'sleep'
  | 'wait'
  | 'log'
  | 'release';

const REPORTS_PER_REQUEST_MAX = 1000;
const REQUEST_CHARACTERS_MAX = 2.5 * 1024 * 1024;
const QUEUE_ITEMS_MAX = 100_000;
const QUEUE_CHARACTERS_MAX = 256 * 1024 * 1024;

export class Reporter {
  readonly #batcher: Batcher<ItemAnswer<ReportAnswer>>;

  constructor(caller: Caller, runnerId: string) {
    const prefix = `{"runner_id":${JSON.stringify(runnerId)},"reports":[`;
    this.#batcher = new Batcher<ItemAnswer<ReportAnswer>>({
      name: 'reports',
      itemsMax: REPORTS_PER_REQUEST_MAX,
      bytesMax: REQUEST_CHARACTERS_MAX,
      queueItemsMax: QUEUE_ITEMS_MAX,
      queueBytesMax: QUEUE_CHARACTERS_MAX,
      inFlightMax: 1,
      send: async (items) => {
        const body = `${prefix}${items.join(',')}]}`;
        return (await caller.post<{ results: ItemAnswer<ReportAnswer>[] }>('/api/v1/work/report', body)).results;
      },
      errorOf: reportError,
    });
  }

  get pending(): number {
    return this.#batcher.pending;
  }

  // Rejects with LeaseLostError, StoppedError or CancelledError when the report came too late, and with InvalidValueError when `members` is not JSON.
  report(op: ReportOp, runId: string, fence: number | string, members?: object): Promise<ReportAnswer> {
    let json: string;
    try {
      json = jsonOf({ op, run_id: runId, fence, ...members }, op);
    } catch (error) {
      return Promise.reject(error as Error);
    }
    return this.#batcher.add(json) as Promise<ReportAnswer>;
  }

  drained(): Promise<void> {
    return this.#batcher.drained();
  }
}

function reportError(answer: ItemAnswer<ReportAnswer>): Error | undefined {
  if (answer.ok) return undefined;
  const { error } = answer;
  if (error.code === 'late') return lateReason(error);
  return new ProblemError(error.status ?? 400, error, error.request_id ?? '');
}
