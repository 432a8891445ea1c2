// The server's half of the wire contract in memory, with faults on demand: what the SDK is tested against where the
// real server cannot be made to fail on cue.
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Gate } from './manual_clock.ts';

type Body = Record<string, unknown>;

// One request goes wrong: an answer of its own; the connection cut before the request is handled, or after it; or the
// answer held back until a gate opens.
export type Fault =
  | { readonly status: number; readonly body?: Body; readonly headers?: Record<string, string> }
  | { readonly cut: 'before' | 'after' }
  | { readonly hold: Gate };

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Body;
}

export interface FakeRun {
  readonly id: string;
  readonly run: Body;
  state: string;
  fence: number;
  attempt: number;
  retryCount: number;
  steps: { name: string; status: string; result?: unknown }[];
  cancel: boolean;
  stop: Body | null;
  error?: Body;
  why?: Body;
  // Retries in place that the policy of a step grants.
  stepRetries?: number;
  result?: unknown;
  readonly late: Body[];
  readonly reports: Body[];
}

const ITEM_REFUSED = (status: number, code: string): Body => ({ ok: false, error: { status, code, title: code } });

export class FakeServer {
  readonly seen: Seen[] = [];
  readonly runs = new Map<string, FakeRun>();
  readonly records = new Map<string, Body[]>();
  readonly effects = new Map<string, { state: string; result?: unknown; reserve: Body }>();
  connections = 0;
  leaseMs = 10_000;
  heartbeatMs = 3_000;
  // Answers of GET /may-i, first to last; the last one stays. Decisions of reserve likewise; with none, what became of
  // the effect so far decides.
  mayI: Body[] = [{ allowed: true, reason: null, switch: null, cache_ms: 1_000, on_unreachable: 'refuse' }];
  decisions: Body[] = [];
  readonly #faults = new Map<string, Fault[]>();
  readonly #stored = new Map<string, { status: number; text: string }>();
  readonly #polls = new Set<() => void>();
  readonly #server: http.Server;
  #count = 0;
  #draining = new Set<string>();

  private constructor() {
    this.#server = http.createServer((request, response) => void this.#serve(request, response));
    this.#server.on('connection', () => this.connections++);
  }

  static async start(): Promise<FakeServer> {
    const fake = new FakeServer();
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const end of this.#polls) end();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  // The next requests to a path (without /api/v1) go wrong so, one each.
  fail(path: string, ...faults: Fault[]): void {
    this.#faults.set(path, [...(this.#faults.get(path) ?? []), ...faults]);
  }

  of(path: string): Seen[] {
    return this.seen.filter((one) => one.path === `/api/v1${path}`);
  }

  reports(op?: string): Body[] {
    const all = this.of('/work/report').flatMap((one) => one.body['reports'] as Body[]);
    return op === undefined ? all : all.filter((one) => one['op'] === op);
  }

  // Another worker gets the run: the fence that is out is no longer good.
  revoke(id: string, why: Body = {}): void {
    const run = this.runs.get(id) as FakeRun;
    run.why = why;
    run.fence++;
    run.state = 'elsewhere';
  }

  // Somebody decides what the run waits for.
  decide(id: string, step: string, result: Body): void {
    const run = this.runs.get(id) as FakeRun;
    if (run.state !== 'waiting') throw new Error(`${id} is ${run.state}`);
    run.steps.push({ name: step, status: 'completed', result });
    this.ready(id);
  }

  // The run may be leased (again).
  ready(id: string): void {
    (this.runs.get(id) as FakeRun).state = 'queued';
    this.#wake();
  }

  add(workflow: string, run: Body = {}, steps: FakeRun['steps'] = []): FakeRun {
    const id = `run_${++this.#count}`;
    const made: FakeRun = {
      id,
      run: {
        workflow,
        ...run,
      },
      state: 'queued',
      fence: 0,
      attempt: 0,
      retryCount: 0,
      steps,
      cancel: false,
      stop: null,
      late: [],
      reports: [],
    };
    this.runs.set(id, made);
    this.#wake();
    return made;
  }

  #wake(): void {
    for (const poll of this.#polls) poll();
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request) text += chunk;
    const [path = '', query = ''] = (request.url ?? '').split('?');
    const body = (text === '' ? {} : JSON.parse(text)) as Body;
    this.seen.push({ method: request.method ?? '', path, query, headers: request.headers, body });
    const fault = this.#faults.get(path.replace('/api/v1', ''))?.shift();
    if (fault && 'cut' in fault && fault.cut === 'before') {
      request.socket.destroy();
      return;
    }
    if (fault && 'status' in fault) {
      const problem = fault.body ?? { title: 'on demand', status: fault.status, code: `code_${fault.status}` };
      response.writeHead(fault.status, { 'content-type': 'application/problem+json', ...fault.headers });
      response.end(JSON.stringify(problem));
      return;
    }
    const key = request.headers['idempotency-key'];
    const memory = `${path} ${key}`;
    let answer = key === undefined ? undefined : this.#stored.get(memory);
    if (!answer) {
      const [status, value] = await this.#handle(path.replace('/api/v1', ''), query, body);
      answer = { status, text: JSON.stringify(value) };
      if (key !== undefined) this.#stored.set(memory, answer);
    }
    if (fault && 'hold' in fault) await fault.hold.opened;
    if (fault && 'cut' in fault) {
      request.socket.destroy();
      return;
    }
    response.writeHead(answer.status, { 'content-type': 'application/json' });
    response.end(answer.text);
  }

  async #handle(path: string, _query: string, body: Body): Promise<[number, unknown]> {
    const observed = /^\/runs\/([^/]+)\/(steps|end)$/.exec(path);
    if (observed)
      return [200, observed[2] === 'steps' ? { results: (body['steps'] as Body[]).map(() => ({ ok: true })) } : {}];
    const effect = /^\/side-effects\/([^/]+)\/(commit|verify|release)$/.exec(path);
    if (effect) return this.#effect(effect[1] as string, effect[2] as string, body);
    if (/^\/workers\/[^/]+$/.test(path)) return [200, {}];
    if (path.endsWith('/drain')) {
      this.#draining.add(decodeURIComponent(path.split('/')[2] as string));
      this.#wake();
      return [200, {}];
    }
    switch (path) {
      case '/runs':
        if (!Array.isArray(body['runs'])) return [201, this.#create(body)];
        return [200, { results: (body['runs'] as Body[]).map((run) => this.#create(run)) }];
      case '/workers':
        return [200, { lease_ms: this.leaseMs, heartbeat_ms: this.heartbeatMs }];
      case '/work/lease':
        return [200, { leases: await this.#lease(body), kill: [] }];
      case '/work/report':
        return [200, { results: (body['reports'] as Body[]).map((report) => this.#report(report)) }];
      case '/events':
        return [200, {}];
      case '/approvals':
        return this.#ask(body);
      case '/may-i':
        return [200, this.mayI.length > 1 ? this.mayI.shift() : this.mayI[0]];
      case '/side-effects/reserve':
        return [200, this.#reserve(body)];
      case '/agent_logs':
      case '/workflow_failures':
      case '/audit_logs': {
        const kept = this.records.get(path.slice(1)) ?? [];
        this.records.set(path.slice(1), kept);
        return [
          200,
          { results: (body['records'] as Body[]).map((record) => ({ ok: true, id: `rec_${kept.push(record)}` })) },
        ];
      }
      default:
        return [404, { title: 'no such path', status: 404, code: 'not_found' }];
    }
  }

  #create(run: Body): Body {
    if (run['workflow'] === 'forbidden') return ITEM_REFUSED(403, 'forbidden');
    const made = this.add(run['workflow'] as string, run);
    return { ok: true, run_id: made.id, state: run['status'] ?? 'queued', created: true };
  }

  async #lease(body: Body): Promise<Body[]> {
    for (;;) {
      const found = [...this.runs.values()].filter((run) => run.state === 'queued').slice(0, body['max'] as number);
      if (found.length > 0) {
        return found.map((run) => {
          run.state = 'leased';
          const { retry: _retry, priority: _priority, ...rest } = run.run;
          return {
            ...rest,
            run_id: run.id,
            attempt: ++run.attempt,
            fence: ++run.fence,
            retry_count: run.retryCount,
            steps: run.steps,
          };
        });
      }
      if (this.#draining.has(body['runner_id'] as string)) return [];
      let stopped = false;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#polls.delete(wake);
          stopped = !this.#server.listening;
          resolve();
        };
        this.#polls.add(wake);
      });
      if (stopped) return [];
    }
  }

  #report(report: Body): Body {
    const run = this.runs.get(report['run_id'] as string);
    if (!run) return ITEM_REFUSED(404, 'not_found');
    if (run.fence !== report['fence'] || run.state !== 'leased') {
      run.late.push(report);
      return { ok: false, error: { status: 409, code: 'late', title: 'late', ...run.why } };
    }
    run.reports.push(report);
    if (report['op'] === 'step_complete')
      run.steps.push({ name: report['name'] as string, status: 'completed', result: report['result'] });
    if (report['op'] === 'complete') [run.state, run.result] = ['succeeded', report['result']];
    if (report['op'] === 'fail') [run.state, run.error] = ['failed', report['error'] as Body];
    if (report['op'] === 'sleep') run.state = 'sleeping';
    if (report['op'] === 'wait') run.state = 'waiting';
    if (report['op'] === 'release') run.state = 'released';
    const usual = { ok: true, state: run.state, cancel: run.cancel, stop: run.stop };
    if (report['op'] !== 'step_fail' || !run.stepRetries) return usual;
    run.stepRetries--;
    return { ...usual, will_retry: true, retry_after_ms: 70 };
  }

  #ask(body: Body): [number, Body] {
    const run = this.runs.get(body['run_id'] as string) as FakeRun;
    if (run.fence !== body['fence'] || run.state !== 'leased') return [409, { status: 409, code: 'conflict' }];
    const done = run.steps.find((step) => step.name === body['step']);
    if (done) return [200, { state: 'done', result: done.result }];
    run.state = 'waiting';
    return [200, { state: 'parked', result: null }];
  }

  #reserve(body: Body): Body {
    const same = (reserve: Body): boolean =>
      ['action', 'target', 'payload_hash', 'client_id'].every((name) => reserve[name] === body[name]);
    const known = [...this.effects].findLast(([, effect]) => same(effect.reserve) && effect.state === 'committed');
    if (this.decisions.length === 0 && known) {
      return { side_effect_id: known[0], decision: 'committed', earlier: { result: known[1].result } };
    }
    const decision = this.decisions.length > 1 ? this.decisions.shift() : (this.decisions[0] ?? { decision: 'go_on' });
    const id = `fx_${this.effects.size + 1}`;
    this.effects.set(id, { state: 'reserved', reserve: body });
    return { side_effect_id: id, earlier: null, ...decision };
  }

  #effect(id: string, verb: string, body: Body): [number, unknown] {
    const effect = this.effects.get(id);
    if (!effect) return [404, { code: 'not_found' }];
    const proof = body['proof'] as Body | undefined;
    if (verb === 'commit')
      [effect.state, effect.result] = [proof?.['url'] ? 'committed' : 'unverified', body['result']];
    if (verb === 'verify') effect.state = body['visible'] ? 'committed' : 'absent';
    if (verb === 'release') effect.state = 'released';
    return [200, { state: effect.state }];
  }
}
