// Runs on their way to the server.
import { Batcher, jsonOf } from './batcher.ts';
import { type Caller, itemError } from './call.ts';
import { InvalidValueError } from './errors.ts';
import { NOTHING, carriedNow } from './trace.ts';
import type { BatchAnswer, ItemAnswer, Json, RunCreated } from './wire.ts';

export interface RunOptions {
  readonly workflow: string;
  readonly payload?: Json;
  readonly clientId?: string | undefined;
  readonly platform?: string | undefined;
  readonly lane?: string | undefined;
  readonly agent?: string | undefined;
  readonly model?: string | undefined;
  readonly pool?: string | undefined;
  // 0 is first, 9 is last, 5 without.
  readonly priority?: number | undefined;
  readonly runAt?: Date | undefined;
  readonly maxRetries?: number | undefined;
  readonly retry?: { baseMs?: number; factor?: number; capMs?: number; elapsedMaxMs?: number } | undefined;
  readonly timeoutMs?: number | undefined;
  readonly concurrencyKey?: string | undefined;
  // The same key and payload give the first run's id with `created: false`; another payload is refused (422).
  readonly idempotencyKey?: string | undefined;
  readonly correlationId?: string | undefined;
  readonly jobId?: string | undefined;
  readonly requestId?: string | undefined;
  readonly trigger?: { source: string; eventKey?: string } | undefined;
}

export interface EnqueuedRun {
  readonly runId: string;
  readonly state: string;
  // False when the idempotency key had already made this run.
  readonly created: boolean;
}
export type EnqueueResult = ({ readonly ok: true } & EnqueuedRun) | { readonly ok: false; readonly error: Error };

const RUNS_PER_REQUEST_MAX = 1000;
// The server takes 8 MiB; a character is at most 3 bytes of UTF-8.
const REQUEST_CHARACTERS_MAX = 2.5 * 1024 * 1024;
// Requests of enqueueMany() are smaller, so that two sides can work on them at once.
const RUNS_PER_CHUNK = 250;
const CHUNK_CHARACTERS = 1024 * 1024; // reached, not exceeded by more than one run
const CHUNKS_IN_FLIGHT = 3;

// The caller's run as the wire knows it, with the caller's trace context. Throws InvalidValueError.
export function runJson(run: RunOptions): string {
  if (!run.workflow) throw new InvalidValueError('a run needs a workflow');
  const { workflow, payload, clientId, ...rest } = run;
  const carried = carriedNow();
  const what = `run of ${workflow}`;
  // What every run has, without the long list of what few have.
  let json = `{"workflow":${JSON.stringify(workflow)}`;
  if (payload !== undefined) json += `,"payload":${jsonOf(payload, what)}`;
  if (clientId !== undefined) json += `,"client_id":${JSON.stringify(clientId)}`;
  if (carried === NOTHING && Object.keys(rest).length === 0) return `${json}}`;
  const more = jsonOf(
    {
      platform: run.platform,
      lane: run.lane,
      agent: run.agent,
      model: run.model,
      priority: run.priority,
      run_at: run.runAt?.toISOString(),
      max_retries: run.maxRetries,
      retry: run.retry && {
        base_ms: run.retry.baseMs,
        factor: run.retry.factor,
        cap_ms: run.retry.capMs,
        elapsed_max_ms: run.retry.elapsedMaxMs,
      },
      concurrency_key: run.concurrencyKey,
      idempotency_key: run.idempotencyKey,
      correlation_id: run.correlationId ?? carried.correlation_id,
      job_id: run.jobId,
      request_id: run.requestId,
      traceparent: carried.traceparent,
      tracestate: carried.tracestate,
      baggage: carried.baggage,
      trigger: run.trigger && { source: run.trigger.source, event_key: run.trigger.eventKey },
      timeout_ms: run.timeoutMs,
      pool: run.pool,
    },
    what,
  );
  return more === '{}' ? `${json}}` : `${json},${more.slice(1)}`;
}

function enqueued(answer: RunCreated): EnqueuedRun {
  return { runId: answer.run_id, state: answer.state, created: answer.created };
}

export class Enqueuer {
  readonly #caller: Caller;
  readonly #batcher: Batcher<ItemAnswer<RunCreated>>;

  constructor(caller: Caller, limits: { queueItemsMax: number; queueBytesMax: number; inFlightMax: number }) {
    this.#caller = caller;
    this.#batcher = new Batcher({
      name: 'enqueue',
      itemsMax: RUNS_PER_REQUEST_MAX,
      bytesMax: REQUEST_CHARACTERS_MAX,
      ...limits,
      send: async (items) => this.#send(items),
      errorOf: itemError,
    });
  }

  async enqueue(run: RunOptions): Promise<EnqueuedRun> {
    const answer = await this.#batcher.add(runJson(run));
    return enqueued(answer as ItemAnswer<RunCreated> & { ok: true });
  }

  // One result per run, in their order; never rejects for the sake of one of them. The runs travel in several requests,
  // which may fail apart: the server stores one while the next is being written out. They may begin in another order.
  async enqueueMany(runs: readonly RunOptions[]): Promise<EnqueueResult[]> {
    const outcome: EnqueueResult[] = Array.from({ length: runs.length });
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < runs.length) {
        const chunk = takeChunk(runs, next, outcome);
        next = chunk.end;
        if (chunk.items.length > 0) await this.#chunk(chunk, outcome);
      }
    };
    const lanes = [lane()];
    for (let count = 1; count < CHUNKS_IN_FLIGHT && next < runs.length; count++) {
      await new Promise((resolve) => setImmediate(resolve)); // the chunk before goes out first
      lanes.push(lane());
    }
    await Promise.all(lanes);
    return outcome;
  }

  drained(): Promise<void> {
    return this.#batcher.drained();
  }

  async #send(items: readonly string[]): Promise<readonly ItemAnswer<RunCreated>[]> {
    const answer = await this.#caller.post<BatchAnswer<RunCreated>>('/api/v1/runs', `{"runs":[${items.join(',')}]}`);
    return answer.results;
  }

  async #chunk(chunk: Chunk, outcome: EnqueueResult[]): Promise<void> {
    let answers: readonly ItemAnswer<RunCreated>[] = [];
    let failed: Error = new InvalidValueError('enqueue: the server answered fewer results than it was sent');
    try {
      answers = await this.#send(chunk.items);
    } catch (error) {
      failed = error as Error;
    }
    for (const [at, place] of chunk.places.entries()) {
      const answer = answers[at];
      const error = answer === undefined ? failed : itemError(answer);
      outcome[place] = error
        ? { ok: false, error }
        : { ok: true, ...enqueued(answer as ItemAnswer<RunCreated> & { ok: true }) };
    }
  }
}

interface Chunk {
  readonly items: string[];
  readonly places: number[]; // of the items among the runs
  readonly end: number; // the first run that is not in it
}

// As many runs from `begin` on as fit one request. What JSON cannot say gets its error here and is left out.
function takeChunk(runs: readonly RunOptions[], begin: number, outcome: EnqueueResult[]): Chunk {
  const items: string[] = [];
  const places: number[] = [];
  let characters = 0;
  let at = begin;
  for (; at < runs.length && items.length < RUNS_PER_CHUNK && characters < CHUNK_CHARACTERS; at++) {
    try {
      const json = runJson(runs[at] as RunOptions);
      if (json.length > REQUEST_CHARACTERS_MAX) throw new InvalidValueError(`a run of ${json.length} characters`);
      items.push(json);
      places.push(at);
      characters += json.length;
    } catch (error) {
      outcome[at] = { ok: false, error: error as Error };
    }
  }
  return { items, places, end: at };
}
