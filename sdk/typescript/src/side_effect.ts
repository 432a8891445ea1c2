// A side effect, at most once: reserve → perform → verify → commit with proof.
//
//   reserve ─ go_on ────► perform ─ ok ──────────────► (verify) ─► commit
//      │                     ├ NotPerformedError ───► release, throw
//      │                     └ any other error ─────► verify ─ visible ──► commit
//      │                                                 ├ not visible ─► release, throw
//      │                                                 └ cannot say ──► stays reserved, EffectUnknownError
//      ├ committed ────► the earlier result; nothing is performed
//      ├ unknown ──────► verify ─ visible ──► committed, the earlier try did it
//      │                    ├ not visible ─► reserve once more, go on
//      │                    └ cannot say, or no verify ──► EffectUnknownError
//      ├ in_progress ──► RetryableError: its owner is alive
//      └ refused ──────► RefusedError
import { createHash } from 'node:crypto';
import { jsonOf } from './batcher.ts';
import type { Caller } from './call.ts';
import { EffectUnknownError, FettleError, NotPerformedError, RefusedError, RetryableError } from './errors.ts';
import type { Json, ReserveAnswer } from './wire.ts';

export interface Proof {
  readonly url?: string | undefined;
  readonly screenshot_sha256?: string | undefined;
  readonly [name: string]: Json | undefined;
}

export interface SideEffectOptions {
  readonly action: string;
  readonly target: string;
  // What is published, sent or charged. Its hash tells a repetition from another effect; the payload stays here.
  readonly payload?: Json | undefined;
  readonly payloadHash?: string | undefined; // instead of `payload`
  readonly clientId?: string | undefined;
  readonly platform?: string | undefined;
  readonly surface?: string | undefined;
  readonly executionLane?: string | undefined;
  readonly tool?: string | undefined;
  readonly agent?: string | undefined;
  // For people; no more of the payload than may be read by everybody.
  readonly summary?: string | undefined;
  // Tells apart what is meant to happen again with the same payload: a date, a number.
  readonly occurrence?: string | undefined;
  readonly policySnapshotId?: string | undefined;
}

// What `perform` may answer; a bare value is a result without proof.
export class Performed<T extends Json = Json> {
  readonly result: T;
  readonly proof: Proof | undefined;
  constructor(result: T, proof?: Proof) {
    this.result = result;
    this.proof = proof;
  }
}

export interface Verdict {
  // Whether the effect can be seen from outside; undefined when that cannot be told now.
  readonly visible: boolean | undefined;
  readonly proof?: Proof | undefined;
  readonly result?: Json | undefined;
}

export interface SideEffectResult<T> {
  readonly sideEffectId: string;
  readonly result: T;
  // True when an earlier try had already done it.
  readonly earlier: boolean;
  // `unverified`: performed, but without the proof that the action needs; a person sees it listed.
  readonly state: 'committed' | 'unverified';
}

// The run on whose behalf it happens.
export interface EffectOwner {
  readonly runId?: string | undefined;
  readonly fence?: number | string | undefined;
  readonly step?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class SideEffects {
  readonly #caller: Caller;
  constructor(caller: Caller) {
    this.#caller = caller;
  }

  async run<T extends Json>(
    options: SideEffectOptions,
    perform: () => Promise<T | Performed<T>> | T | Performed<T>,
    verify?: () => Promise<Verdict> | Verdict,
    owner: EffectOwner = {},
  ): Promise<SideEffectResult<T>> {
    let reserved = await this.#reserve(options, owner);
    if (reserved.decision === 'unknown') {
      const settled = await this.#settleEarlier<T>(reserved, verify);
      if (settled) return settled;
      reserved = await this.#reserve(options, owner);
    }
    const id = reserved.side_effect_id;
    switch (reserved.decision) {
      case 'go_on':
        break;
      case 'committed':
        return { sideEffectId: id, result: (reserved.earlier?.result ?? null) as T, earlier: true, state: 'committed' };
      case 'refused':
        throw new RefusedError(
          `${options.action} on ${options.target} is refused: ${reserved.reason ?? 'by rule'}`,
          reserved,
        );
      case 'in_progress':
        throw new RetryableError(`${options.action} on ${options.target} is under way elsewhere`, {
          code: 'in_progress',
        });
      case 'unknown':
        throw new EffectUnknownError(id, `${options.action} on ${options.target}: still unknown after it was verified`);
    }
    // The lease may have gone while the reservation was under way: then the effect belongs to another worker.
    if (owner.signal?.aborted) {
      await this.#release(id, 'the worker stopped before it began');
      throw owner.signal.reason;
    }
    let done: T | Performed<T>;
    try {
      done = await perform();
    } catch (error) {
      return this.#afterFailure<T>(id, options, error, verify);
    }
    const performed = done instanceof Performed ? done : new Performed(done);
    let proof = performed.proof;
    if (verify) {
      const seen = await this.#verdict(verify);
      // Performed but not seen (yet) must never count as proven, and must not be done again either.
      proof = { ...proof, ...seen.proof, ...(seen.visible === false ? { visible: false } : {}) };
    }
    return this.#commit(id, performed.result, proof, false);
  }

  async #afterFailure<T extends Json>(
    id: string,
    options: SideEffectOptions,
    error: unknown,
    verify: (() => Promise<Verdict> | Verdict) | undefined,
  ): Promise<SideEffectResult<T>> {
    const reason = error instanceof Error ? error.message : String(error);
    if (error instanceof NotPerformedError) {
      await this.#release(id, reason);
      throw error;
    }
    const seen: Verdict = verify ? await this.#verdict(verify) : { visible: undefined };
    if (seen.visible === true) return this.#commit(id, (seen.result ?? null) as T, seen.proof, false);
    if (seen.visible === false) {
      await this.#release(id, reason);
      throw error;
    }
    throw new EffectUnknownError(id, `${options.action} on ${options.target} failed in doubt: ${reason}`, {
      cause: error,
    });
  }

  // The earlier try's fate: a result when it is visible, undefined when it is certainly absent.
  async #settleEarlier<T extends Json>(
    reserved: ReserveAnswer,
    verify: (() => Promise<Verdict> | Verdict) | undefined,
  ): Promise<SideEffectResult<T> | undefined> {
    const id = reserved.side_effect_id;
    if (!verify) throw new EffectUnknownError(id, 'an earlier try may have done it, and there is no way to verify');
    const seen = await this.#verdict(verify);
    if (seen.visible === undefined)
      throw new EffectUnknownError(id, 'an earlier try may have done it; verifying did not tell');
    const body = jsonOf({ visible: seen.visible, proof: seen.proof, result: seen.result }, 'proof');
    const answer = await this.#post<{ state?: string }>(id, 'verify', body);
    if (!seen.visible) return undefined;
    const result = (seen.result ?? reserved.earlier?.result ?? null) as T;
    return { sideEffectId: id, result, earlier: true, state: stateOf(answer?.state) };
  }

  // A verification that fails tells nothing.
  async #verdict(verify: () => Promise<Verdict> | Verdict): Promise<Verdict> {
    try {
      return await verify();
    } catch {
      return { visible: undefined };
    }
  }

  #reserve(options: SideEffectOptions, owner: EffectOwner): Promise<ReserveAnswer> {
    const body = {
      client_id: options.clientId,
      platform: options.platform,
      action: options.action,
      target: options.target,
      payload_hash: options.payloadHash ?? payloadHash(options.payload ?? null),
      surface: options.surface,
      execution_lane: options.executionLane,
      tool: options.tool,
      agent: options.agent,
      payload_summary: options.summary,
      occurrence: options.occurrence,
      run_id: owner.runId,
      fence: owner.fence,
      step: owner.step,
      policy_snapshot_id: options.policySnapshotId,
    };
    return this.#caller.post<ReserveAnswer>('/api/v1/side-effects/reserve', jsonOf(body, options.action), {
      signal: owner.signal,
    });
  }

  async #commit<T extends Json>(
    id: string,
    result: T,
    proof: Proof | undefined,
    earlier: boolean,
  ): Promise<SideEffectResult<T>> {
    let answer: { state?: string };
    try {
      answer = await this.#post(id, 'commit', jsonOf({ proof, result }, 'result'));
    } catch (error) {
      // Done, but not on record: the next try is told "unknown" and verifies.
      throw new EffectUnknownError(id, `performed, but the commit failed: ${(error as Error).message}`, {
        cause: error,
      });
    }
    return { sideEffectId: id, result, earlier, state: stateOf(answer?.state) };
  }

  // Best effort: a reservation that stays is "unknown" to the next try, which is safe.
  async #release(id: string, reason: string): Promise<void> {
    try {
      await this.#post(id, 'release', jsonOf({ reason }, 'reason'));
    } catch (error) {
      if (!(error instanceof FettleError)) throw error;
    }
  }

  #post<A>(id: string, verb: string, body: string): Promise<A> {
    return this.#caller.post<A>(`/api/v1/side-effects/${encodeURIComponent(id)}/${verb}`, body);
  }
}

function stateOf(state: string | undefined): 'committed' | 'unverified' {
  return state === 'unverified' ? 'unverified' : 'committed';
}

// SHA-256 of the payload's canonical JSON (RFC 8785: sorted names, no blanks), so that the order of members is no
// difference.
export function payloadHash(payload: Json): string {
  return createHash('sha256').update(canonicalJson(payload)).digest('hex');
}

export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const source = value as Record<string, unknown>;
    if (typeof source['toJSON'] === 'function') return canonicalJson((source['toJSON'] as () => unknown)());
    const names = Object.keys(source).filter((name) => source[name] !== undefined);
    names.sort(); // by UTF-16 code units, as RFC 8785 asks
    return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalJson(source[name])}`).join(',')}}`;
  }
  return jsonOf(value, 'payload');
}
