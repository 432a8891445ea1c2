// Observed runs: the work runs where it always ran, and reports its start, its steps and its end.
import { Batcher, jsonOf } from './batcher.ts';
import { type Caller, itemError } from './call.ts';
import { type RunOptions, runJson } from './enqueue.ts';
import { errorObject } from './errors.ts';
import type { EffectOwner } from './side_effect.ts';
import { spanned } from './trace.ts';
import type { BatchAnswer, ItemAnswer, Json, RunCreated } from './wire.ts';

export interface Usage {
  readonly tokens?: number | undefined;
  readonly costUsd?: number | undefined;
}

export interface StepScope {
  readonly name: string;
  // Its place among the run's steps, from 1.
  readonly stepId: number;
  // Adds to what this step has used; a run's total is that of its steps and what it used beside them.
  usage(usage: Usage): void;
}

export class ObservedRun {
  readonly runId: string;
  readonly #caller: Caller;
  readonly #workflow: string;
  readonly #steps: Batcher<ItemAnswer<object>>;
  #stepCount = 0;
  #tokens = 0;
  #costUsd = 0;

  // startRun() makes it.
  constructor(caller: Caller, runId: string, workflow: string) {
    this.#caller = caller;
    this.runId = runId;
    this.#workflow = workflow;
    this.#steps = new Batcher<ItemAnswer<object>>({
      name: `steps of ${runId}`,
      itemsMax: 1000,
      bytesMax: 2.5 * 1024 * 1024,
      queueItemsMax: 10_000,
      queueBytesMax: 16 * 1024 * 1024,
      inFlightMax: 1, // a step's start comes before its end
      send: async (items) => {
        const answer = await this.#caller.post<BatchAnswer<object>>(
          this.#path('steps'),
          `{"steps":[${items.join(',')}]}`,
        );
        return answer.results;
      },
      errorOf: itemError,
    });
  }

  get owner(): EffectOwner {
    return { runId: this.runId };
  }

  // Runs `body` as a step: reported at its start and at its end, as failed when it throws. The report does not hold
  // the work up; end() waits for it.
  async step<T>(name: string, body: (step: StepScope) => Promise<T> | T): Promise<T> {
    const { clock } = this.#caller;
    const step = ++this.#stepCount;
    const used = { tokens: 0, costUsd: 0 };
    const scope: StepScope = {
      name,
      stepId: step,
      usage: (usage) => {
        used.tokens += usage.tokens ?? 0;
        used.costUsd += usage.costUsd ?? 0;
      },
    };
    const begin = clock.now();
    this.#report({ step, name, status: 'running', started_at: new Date(clock.wall()).toISOString() });
    const ended = (): object => ({
      step,
      name,
      duration_ms: Math.round(clock.now() - begin),
      finished_at: new Date(clock.wall()).toISOString(),
      tokens: used.tokens,
      cost_usd: used.costUsd,
    });
    try {
      const attributes = { run_id: this.runId, step_id: step };
      const result = await spanned({ name: `step ${name}`, kind: 'internal', attributes }, async () => body(scope));
      this.#report({ ...ended(), status: 'succeeded' });
      return result;
    } catch (error) {
      this.#report({ ...ended(), status: 'failed', error: errorObject(error, clock.wall()) });
      throw error;
    }
  }

  // What was used outside of a step.
  usage(usage: Usage): void {
    this.#tokens += usage.tokens ?? 0;
    this.#costUsd += usage.costUsd ?? 0;
  }

  succeed(result?: Json): Promise<void> {
    return this.#end({ status: 'succeeded', result });
  }

  fail(error: unknown): Promise<void> {
    return this.#end({ status: 'failed', error: errorObject(error, this.#caller.clock.wall()) });
  }

  // Reports the first failure to deliver a step, if there was one, once the end itself is delivered.
  async #end(outcome: object): Promise<void> {
    await this.#steps.drained();
    const body = { ...outcome, tokens: this.#tokens, cost_usd: this.#costUsd };
    await this.#caller.post(this.#path('end'), jsonOf(body, `end of ${this.#workflow}`));
    if (this.#undelivered !== undefined) throw this.#undelivered;
  }
  #undelivered: Error | undefined;

  #report(step: object): void {
    this.#steps.add(jsonOf(step, 'step')).catch((error: Error) => {
      this.#undelivered ??= error;
    });
  }

  #path(verb: string): string {
    return `/api/v1/runs/${encodeURIComponent(this.runId)}/${verb}`;
  }
}

export async function startRun(caller: Caller, run: RunOptions): Promise<ObservedRun> {
  const json = runJson(run);
  const body = `${json.slice(0, -1)},"observed":true,"status":"running"}`;
  const created = await caller.post<RunCreated>('/api/v1/runs', body);
  return new ObservedRun(caller, created.run_id, run.workflow);
}
