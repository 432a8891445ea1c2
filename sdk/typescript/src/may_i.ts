// "May I?", asked before each side effect by executors that Fettle does not run.
import type { Caller } from './call.ts';
import { ProblemError, UnreachableError } from './errors.ts';
import { retryableStatus } from './errors.ts';
import type { MayIAnswer, SwitchInfo } from './wire.ts';

export interface MayIQuestion {
  readonly clientId?: string | undefined;
  readonly platform?: string | undefined;
  readonly lane?: string | undefined;
  readonly workflow?: string | undefined;
  readonly tool?: string | undefined;
  readonly agent?: string | undefined;
  readonly actionClass?: string | undefined;
}

export interface MayIVerdict {
  readonly allowed: boolean;
  readonly reason: string | undefined;
  readonly killSwitch: SwitchInfo | undefined;
  // Where the verdict comes from; `unreachable` is the rule of the action's class, applied while the server is away.
  readonly source: 'server' | 'cache' | 'unreachable';
}

export interface MayIOptions {
  // The rule while the server is away and has never said what the class's rule is. Refuses without.
  readonly onUnreachable?: 'allow' | 'refuse' | undefined;
  readonly timeoutMs?: number | undefined;
}

interface Remembered {
  readonly answer: MayIAnswer;
  readonly until: number;
}

const QUESTIONS_MAX = 1000;
const CLASSES_MAX = 100;
const TIMEOUT_MS = 2_000;
const NO_RETRY = { retriesMax: 0, baseMs: 0, factor: 1, capMs: 0, elapsedMaxMs: 0 };

export class MayI {
  readonly #caller: Caller;
  readonly #known = new Map<string, Remembered>();
  readonly #asking = new Map<string, Promise<MayIAnswer>>();
  readonly #rules = new Map<string, 'allow' | 'refuse'>(); // by action class

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  // Never rejects for an absent server; rejects when the question itself is refused (401, 403, 400).
  async ask(question: MayIQuestion, options: MayIOptions = {}): Promise<MayIVerdict> {
    const query = queryOf(question);
    const { clock } = this.#caller;
    const known = this.#known.get(query);
    if (known && clock.now() < known.until) return verdict(known.answer, 'cache');
    const actionClass = question.actionClass ?? '';
    try {
      const answer = await this.#fetch(query, options.timeoutMs ?? TIMEOUT_MS);
      put(this.#rules, actionClass, answer.on_unreachable, CLASSES_MAX);
      return verdict(answer, 'server');
    } catch (error) {
      const away =
        error instanceof UnreachableError || (error instanceof ProblemError && retryableStatus(error.status));
      if (!away) throw error;
      const rule = this.#rules.get(actionClass) ?? options.onUnreachable ?? 'refuse';
      const reason = `Fettle does not answer; ${actionClass === '' ? 'the' : `${actionClass}: the`} rule is to ${rule}`;
      return { allowed: rule === 'allow', reason, killSwitch: undefined, source: 'unreachable' };
    }
  }

  // Callers who ask the same at the same time share one request. Its age counts from when it was sent.
  #fetch(query: string, timeoutMs: number): Promise<MayIAnswer> {
    const under = this.#asking.get(query);
    if (under) return under;
    const sent = this.#caller.clock.now();
    const asking = this.#caller
      .get<MayIAnswer>(`/api/v1/may-i${query}`, { timeoutMs, retry: NO_RETRY })
      .then((answer) => {
        put(this.#known, query, { answer, until: sent + answer.cache_ms }, QUESTIONS_MAX);
        return answer;
      })
      .finally(() => this.#asking.delete(query));
    this.#asking.set(query, asking);
    return asking;
  }
}

// The oldest entry makes room.
function put<V>(map: Map<string, V>, key: string, value: V, entriesMax: number): void {
  map.delete(key);
  map.set(key, value);
  const oldest = map.keys().next();
  if (map.size > entriesMax && !oldest.done) map.delete(oldest.value);
}

function queryOf(question: MayIQuestion): string {
  const search = new URLSearchParams();
  const pairs: readonly (readonly [string, string | undefined])[] = [
    ['client_id', question.clientId],
    ['platform', question.platform],
    ['lane', question.lane],
    ['workflow', question.workflow],
    ['tool', question.tool],
    ['agent', question.agent],
    ['action_class', question.actionClass],
  ];
  for (const [name, value] of pairs) if (value !== undefined) search.append(name, value);
  return search.size === 0 ? '' : `?${search}`;
}

function verdict(answer: MayIAnswer, source: 'server' | 'cache'): MayIVerdict {
  return {
    allowed: answer.allowed,
    reason: answer.reason ?? undefined,
    killSwitch: answer.switch ?? undefined,
    source,
  };
}
