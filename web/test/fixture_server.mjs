// A stand-in for the server, for browser tests alone: the built files and the REST contract over generated data.
// Everything comes from one seed, so that a test sees the same on each run; times hang on the start of the process.
//
//   node test/fixture_server.mjs [port]          prints the address
//   POST /_fixture {"delayMs", "fail": {"<path part>": status}, "partial", "never", "down", "lag_ms", "dropped"}
//   GET /_fixture                                how many tails are open: {"tails"}
//   POST /_fixture/log {"body", "level", …}      sends a line down the tail
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = join(dirname(fileURLToPath(import.meta.url)), '../dist');

export const IDS = {
  crm: '4bf92f3577b34da6a3ce929d0e0e4736',
  big: 'feedc0de000000000000000000100000',
  hostile: '0bad0bad0bad0bad0bad0bad0bad0bad',
  orphan: '0000facade00000000000000000facad',
  cut: 'c0ffee0000000000000000000000cafe',
  sampled: '5a5a5a5a000000000000000000005a5a',
  deadRun: 'run_0dead0dead00',
};

function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
const hex = (rand, digits) => Array.from({ length: digits }, () => Math.floor(rand() * 16).toString(16)).join('');
const ts = (us) =>
  `${new Date(Math.floor(us / 1000)).toISOString().slice(0, -1)}${String(Math.floor(us % 1000)).padStart(3, '0')}000Z`;
const LEVELS = ['unset', 'trace', 'debug', 'info', 'warn', 'error', 'fatal'];
const RESOURCE = (service) => ({
  'service.name': service,
  'service.version': '2.14.0',
  'deployment.environment.name': 'production',
  'host.name': 'edge-3',
  'telemetry.sdk.language': 'nodejs',
});

class Store {
  spans = [];
  logs = [];
  byTrace = new Map();
  constructor(seed, now, daysBack) {
    this.rand = random(seed);
    this.nowUs = now * 1000;
    this.events = [];
    this.routine();
    // Some of it once more, that many days earlier, for lists that reach over midnight.
    if (daysBack > 0) this.earlier(daysBack * 86_400e6);
    this.crm();
    this.hostile();
    this.orphan();
    this.cut();
    this.sampled();
    this.deadRun();
    this.big = undefined;
    this.spans.sort((a, b) => a.us - b.us);
    this.logs.sort((a, b) => a.us - b.us);
  }
  span(trace, parent, service, name, us, tookUs, more = {}) {
    const s = {
      us,
      tookUs,
      ts: ts(us),
      trace_id: trace,
      span_id: more.span_id ?? hex(this.rand, 16),
      parent_span_id: parent ?? '',
      name,
      kind: more.kind ?? 'internal',
      status: more.status ?? 'unset',
      status_message: more.status_message ?? '',
      duration_ms: tookUs / 1000,
      service_name: service,
      scope_name: '@opentelemetry/instrumentation',
      scope_version: '0.57.1',
      trace_state: '',
      flags: 1,
      attrs: more.attrs ?? {},
      resource: RESOURCE(service),
      events: more.events ?? [],
      links: more.links ?? [],
      ids: more.ids ?? {},
      dropped_attributes_count: 0,
      dropped_events_count: 0,
      dropped_links_count: 0,
    };
    this.spans.push(s);
    const list = this.byTrace.get(trace) ?? [];
    list.push(s);
    this.byTrace.set(trace, list);
    return s.span_id;
  }
  log(us, level, service, body, more = {}) {
    const l = {
      us,
      ts: ts(us),
      observed_ts: ts(us + 900),
      severity_number: Math.max(0, LEVELS.indexOf(level) * 4 - 3),
      severity_text: level.toUpperCase(),
      level,
      body,
      event_name: more.event_name ?? '',
      trace_id: more.trace_id ?? '',
      span_id: more.span_id ?? '',
      service_name: service,
      attrs: more.attrs ?? {},
      resource: RESOURCE(service),
      ids: more.ids ?? {},
      scope_name: 'pino',
      flags: 1,
    };
    this.logs.push(l);
    return l;
  }

  // A run as the ledger tells it, without a span: two steps, three failures of the second, then a dead letter.
  deadRun() {
    const ids = { client_id: 'harbor-pine', run_id: IDS.deadRun, workflow: 'lead' };
    const error = {
      name: 'RetryableError',
      code: 'API_TIMEOUT',
      message: 'API_TIMEOUT: Connection timeout after 5s',
      stack: 'RetryableError: API_TIMEOUT\n    at createCRMRecord leads.mjs:37',
    };
    let us = this.nowUs - 9 * 60e6;
    const tell = (name, data = {}, step = undefined) => {
      us += 40e6;
      const event_id = `evt_${hex(this.rand, 32)}`;
      this.events.push({
        us,
        ts: ts(us),
        event_id,
        name,
        trace_id: '',
        ids: step ? { ...ids, step_id: step } : ids,
        data,
      });
    };
    tell('run.enqueued');
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      tell('run.started', { attempt, worker: 'leads-1' });
      if (attempt === 1) tell('step.completed', { attempt, tokens: 312, cost_usd: 0.0009 }, 'enrichCompany');
      tell('step.failed', { attempt, error, will_retry: false }, 'createCRMRecord');
      if (attempt < 3) tell('run.retry_scheduled', { attempt, retry_count: attempt });
    }
    tell('run.dead_lettered', { attempt: 3, retry_count: 2, reason: 'retries_exhausted' });
  }

  routine() {
    const r = this.rand;
    const clients = ['brightside-dental', 'harbor-pine', 'kestrel-cycles', 'lumen-yoga', 'osteria-nove'];
    const platforms = ['instagram', 'tiktok', 'linkedin', 'x'];
    for (let i = 0; i < 420; i += 1) {
      const t = this.nowUs - (i * 8.3 + r() * 6) * 1e6 - 3e6;
      const trace = hex(r, 32);
      const client = clients[Math.floor(r() * clients.length)];
      const platform = platforms[Math.floor(r() * platforms.length)];
      const ids = {
        client_id: client,
        platform,
        lane: 'publishing',
        request_id: `req_${hex(r, 8)}`,
        correlation_id: `c-${hex(r, 8)}`,
        job_id: `job_${70000 + i}`,
      };
      const fails = r() < (platform === 'tiktok' ? 0.2 : 0.02);
      const total = (0.9 + r() * 5) * 1e6;
      const root = this.span(trace, '', 'web', 'POST /posts', t, total * 0.02, {
        kind: 'server',
        ids,
        attrs: { 'http.request.method': 'POST', 'http.route': '/posts', 'http.response.status_code': 202 },
      });
      this.log(t + 2000, 'info', 'web', `accepted post for ${client} on ${platform}`, {
        trace_id: trace,
        span_id: root,
        ids,
        event_name: 'post_accepted',
        attrs: { queue: 'publish' },
      });
      const enqueue = this.span(trace, root, 'web', 'publish send', t + 4000, 3000, { kind: 'producer', ids });
      const job = this.span(trace, enqueue, 'worker', 'publish process', t + 90_000, total, {
        kind: 'consumer',
        ids,
        status: fails ? 'error' : 'ok',
        status_message: fails ? 'publish failed' : '',
      });
      const llm = this.span(trace, job, 'worker', 'chat gpt-5-mini', t + 120_000, total * 0.4, {
        kind: 'client',
        ids,
        attrs: {
          'gen_ai.operation.name': 'chat',
          'gen_ai.request.model': 'gpt-5-mini',
          'gen_ai.usage.input_tokens': 812,
          'gen_ai.usage.output_tokens': 144,
        },
      });
      this.log(t + 130_000, 'debug', 'worker', 'caption drafted in 144 tokens', { trace_id: trace, span_id: llm, ids });
      const tool = this.span(
        trace,
        job,
        'tool-gateway',
        'tools/call publish_post',
        t + 120_000 + total * 0.42,
        total * 0.5,
        { kind: 'server', ids, status: fails ? 'error' : 'unset' },
      );
      const step = this.span(
        trace,
        tool,
        'browser-runner',
        'browser login.submit',
        t + 130_000 + total * 0.45,
        total * 0.4,
        {
          ids: { ...ids, runner_id: fails ? 'rb-07' : 'rb-02' },
          status: fails ? 'error' : 'ok',
          status_message: fails ? 'LOGIN_CHALLENGE: the platform asked for a code' : '',
        },
      );
      if (fails) {
        this.log(t + 130_000 + total * 0.85, 'error', 'browser-runner', 'login challenge after submit, runner rb-07', {
          trace_id: trace,
          span_id: step,
          ids,
          event_name: 'login_challenge',
          attrs: { error_code: 'LOGIN_CHALLENGE', runner_id: 'rb-07' },
        });
        this.log(t + 140_000 + total * 0.9, 'warn', 'worker', 'publish will be retried in 30 s', {
          trace_id: trace,
          span_id: job,
          ids,
          event_name: 'retry_scheduled',
        });
      } else {
        this.log(t + 140_000 + total * 0.9, 'info', 'worker', `published to ${platform}, visible check scheduled`, {
          trace_id: trace,
          span_id: job,
          ids,
          event_name: 'published',
        });
      }
      if (i % 9 === 0)
        this.log(t + 5_000_000, 'warn', 'connector', `token for ${platform} expires in 5 h`, {
          ids: { client_id: client, platform },
        });
      if (i % 3 === 0)
        this.log(
          t + 2_500_000,
          'info',
          'asset-store',
          `GET /assets/${hex(r, 6)}.jpg 200 in ${Math.floor(r() * 40)} ms`,
        );
    }
  }

  earlier(us) {
    for (const list of [this.spans, this.logs])
      for (const row of list.slice(-200)) list.push({ ...row, us: row.us - us, ts: ts(row.us - us) });
  }

  crm() {
    const T = IDS.crm;
    const t0 = this.nowUs - 22 * 60e6;
    const at = (ms) => t0 + ms * 1000;
    const ids = {
      client_id: 'brightside-dental',
      request_id: 'req_abc123',
      correlation_id: 'c-5f0e-91b2',
      run_id: 'run_xyz789',
      job_id: 'job_77120',
      episode_id: 'ep_20991',
    };
    const s = (parent, service, name, ms, took, more = {}) =>
      this.span(T, parent, service, name, at(ms), took * 1000, { ids, ...more });
    const web = s('', 'web', 'http.request', 0, 12, {
      span_id: '00f067aa0ba902b7',
      kind: 'server',
      attrs: {
        'http.request.method': 'POST',
        'http.route': '/webhooks/email',
        'http.response.status_code': 202,
        'client.address': '203.0.113.7',
      },
    });
    this.log(at(8), 'info', 'web', 'webhook received: authorization [redacted:bearer_token], from a***@example.com', {
      trace_id: T,
      span_id: web,
      ids,
      event_name: 'webhook_received',
      attrs: { 'http.request.header.authorization': '[redacted:bearer_token]' },
    });
    const enq = s(web, 'web', 'job.enqueue', 12, 3, {
      kind: 'producer',
      attrs: { 'messaging.destination.name': 'crm-enrichment' },
    });
    const deq = s(enq, 'worker', 'job.dequeue', 899, 31_945, {
      kind: 'consumer',
      status: 'error',
      status_message: 'step createCRMRecord failed',
    });
    const ep = s(deq, 'worker', 'agent.episode', 1138, 31_700, {
      status: 'error',
      attrs: { 'gen_ai.agent.name': 'lead-intake' },
    });
    s(ep, 'worker', 'parseEmail', 1140, 234);
    s(ep, 'worker', 'chat gpt-5-mini', 1390, 880, {
      kind: 'client',
      attrs: { 'gen_ai.request.model': 'gpt-5-mini', 'gen_ai.usage.input_tokens': 412 },
    });
    [
      [3700, 1],
      [9750, 2],
      [17_000, 3],
      [27_800, 4],
    ].forEach(([ms, n]) => {
      const tool = s(ep, 'tool-gateway', 'tool.call hubspot.create_contact', ms, 5000, {
        kind: 'client',
        status: 'error',
        status_message: 'API_TIMEOUT: no answer after 5 s',
        attrs: {
          'gen_ai.tool.name': 'hubspot.create_contact',
          attempt: n,
          'error.type': 'API_TIMEOUT',
          'server.address': 'api.hubapi.com',
          retryable: true,
          tags: ['crm', 'retry'],
        },
        events: [
          {
            ts: ts(at(ms + 5000)),
            name: 'exception',
            attrs: {
              'exception.type': 'ConnectTimeoutError',
              'exception.message': 'API_TIMEOUT: no answer after 5 s',
              'exception.stacktrace':
                'ConnectTimeoutError: Connection timeout after 5s\n  at HubspotClient.request client.ts:88\n  at createContact hubspot.ts:41\n  at createCRMRecord steps/crm.ts:17\n  at Runner.step runner.ts:203',
            },
          },
          { ts: ts(at(ms + 12)), name: 'connection.open', attrs: { 'network.peer.address': '104.16.1.9' } },
        ],
        links:
          n > 1
            ? [{ trace_id: IDS.orphan, span_id: '1111111111111111', trace_state: '', attrs: { reason: 'earlier run' } }]
            : [],
      });
      this.log(at(ms + 5002), 'error', 'tool-gateway', 'API_TIMEOUT: no answer after 5 s', {
        trace_id: T,
        span_id: tool,
        ids,
        event_name: 'tool_timeout',
        attrs: { attempt: n },
      });
      if (n < 4)
        this.log(at(ms + 5050), 'warn', 'worker', `retry in ${[1, 2.3, 5.8][n - 1]} s, attempt ${n + 1} of 4`, {
          trace_id: T,
          span_id: ep,
          ids,
          event_name: 'retry_scheduled',
        });
    });
    this.log(at(32_836), 'error', 'worker', 'step createCRMRecord failed after 4 attempts', {
      trace_id: T,
      span_id: ep,
      ids,
      event_name: 'step_failed',
    });
    s(deq, 'worker', 'INSERT workflow_failures', 32_839, 2, {
      kind: 'client',
      attrs: {
        'db.system.name': 'postgresql',
        'db.query.text': 'INSERT INTO workflow_failures (run_id, step) VALUES (?, ?)',
      },
    });
  }

  hostile() {
    const t0 = this.nowUs - 31 * 60e6;
    const evil = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>';
    const ids = { client_id: evil, request_id: 'req_hostile' };
    const root = this.span(IDS.hostile, '', evil, evil, t0, 900_000, {
      ids,
      status: 'error',
      status_message: evil,
      attrs: {
        [evil]: evil,
        rtl: 'abc \u202e\u05d0\u05d1\u05d2 gpj.exe',
        zero: 'a\u200bb\u200cc',
        long: 'x'.repeat(10_000),
        emoji: '👩‍👩‍👧‍👦 🏳️‍🌈',
        url: 'javascript:alert(1)',
      },
    });
    this.span(IDS.hostile, root, 'svc', 'n'.repeat(10_000), t0 + 1000, 700_000, { ids });
    this.span(IDS.hostile, root, '\u202eevil', '\u202etxt.exe\u200b \u0007bell', t0 + 2000, 600_000, { ids });
    this.span(IDS.hostile, root, 'svc', '👩‍👩‍👧‍👦'.repeat(200), t0 + 3000, 500_000, { ids });
    this.log(t0 + 4000, 'error', evil, `${evil} \u202e reversed \u0000 nul`, {
      trace_id: IDS.hostile,
      span_id: root,
      ids,
      event_name: evil,
      attrs: { [evil]: evil },
    });
    this.log(t0 + 5000, 'info', 'svc', `hostile ${'y'.repeat(10_000)}`, { trace_id: IDS.hostile, span_id: root, ids });
  }
  orphan() {
    const t0 = this.nowUs - 40 * 60e6;
    const a = this.span(IDS.orphan, '', 'web', 'GET /report', t0, 40_000, {
      span_id: '1111111111111111',
      kind: 'server',
      ids: { correlation_id: 'corr-two' },
    });
    this.span(IDS.orphan, a, 'db', 'SELECT report', t0 + 3000, 30_000);
    this.span(IDS.orphan, 'ffffffffffffffff', 'mailer', 'send report', t0 + 60_000, 20_000, {
      ids: { correlation_id: 'corr-two' },
    });
  }
  // A trace with more spans than an outline holds.
  cut() {
    const t0 = this.nowUs - 45 * 60e6;
    const root = this.span(IDS.cut, '', 'web', 'GET /export', t0, 40_000, { kind: 'server' });
    for (let i = 0; i < 3; i += 1) this.span(IDS.cut, root, 'db', `SELECT part ${i}`, t0 + 1000 * i, 900);
  }
  sampled() {
    const t0 = this.nowUs - 50 * 60e6;
    for (let i = 0; i < 4; i += 1)
      this.log(t0 + i * 1e6, 'info', 'worker', `kept line ${i + 1} of a trace without spans`, {
        trace_id: IDS.sampled,
        ids: { request_id: 'req_sampled' },
      });
  }

  // 100,000 spans as an outline; built when first asked for.
  bigOutline() {
    if (this.big) return this.big;
    const r = random(7);
    const names = [
      'agent.step',
      'tool.call',
      'http.request',
      'db.select',
      'queue.poll',
      'browser.click',
      'render',
      'verify',
    ];
    const services = ['worker', 'tool-gateway', 'web', 'db', 'browser-runner'];
    const N = 100_000;
    const rows = [];
    rows.push([hex(r, 16), -1, 0, 0, 0, 60_000_000, 0, 1]);
    let errors = 0;
    const open = [0];
    for (let i = 1; i < N; i += 1) {
      while (open.length > 1 && r() < 0.45) open.pop();
      const parent = open.at(-1);
      const start = Math.floor((i / N) * 59_000_000);
      const bad = i % 9973 === 5000;
      if (bad) errors += 1;
      rows.push([
        hex(r, 16),
        parent,
        Math.floor(r() * names.length),
        Math.floor(r() * services.length),
        start,
        Math.floor(200 + r() * 40_000),
        bad ? 2 : r() < 0.5 ? 1 : 0,
        1 + Math.floor(r() * 5),
      ]);
      if (open.length < 9 && r() < 0.5) open.push(i);
    }
    const start = this.nowUs - 10 * 60e6;
    this.big = {
      start,
      names,
      services,
      rows,
      json: JSON.stringify({
        trace_id: IDS.big,
        start_ts: ts(start),
        names,
        services,
        span_count: N,
        error_count: errors,
        partial: false,
        spans: rows,
      }),
    };
    return this.big;
  }
}

function bound(text, now) {
  if (!text || text === 'now') return now;
  const m = /^-(\d+)([smhdw])$/.exec(text);
  if (m) return now - Number(m[1]) * { s: 1e6, m: 60e6, h: 3600e6, d: 86_400e6, w: 604_800e6 }[m[2]];
  const parsed = Date.parse(text);
  return Number.isNaN(parsed) ? undefined : parsed * 1000;
}

function words(q) {
  return [...q.matchAll(/"([^"]+)"|\*([^*\s]+)\*|(\S+)/g)].map((m) => {
    const text = (m[1] ?? m[2] ?? m[3]).toLowerCase();
    const safe = text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    return new RegExp(m[2] ? safe : `(?<![\\p{L}\\p{N}])${safe}(?![\\p{L}\\p{N}])`, 'iu');
  });
}

const RESERVED = new Set([
  'from',
  'to',
  'limit',
  'cursor',
  'order',
  'q',
  'buckets',
  'level',
  'service',
  'name',
  'status',
  'kind',
  'trace_id',
  'span_id',
  'event_name',
  'duration_ms_min',
  'duration_ms_max',
]);
function matches(params, isLog) {
  const all = (key) => params.getAll(key);
  const finds = words(params.get('q') ?? '');
  const least = LEVELS.indexOf(params.get('level') ?? 'unset');
  return (row) => {
    if (all('service').length > 0 && !all('service').includes(row.service_name)) return false;
    for (const key of ['trace_id', 'span_id']) if (params.get(key) && row[key] !== params.get(key)) return false;
    if (isLog && LEVELS.indexOf(row.level) < least) return false;
    if (isLog && params.get('event_name') && row.event_name !== params.get('event_name')) return false;
    if (!isLog) {
      if (all('name').length > 0 && !all('name').includes(row.name)) return false;
      if (all('status').length > 0 && !all('status').includes(row.status)) return false;
      if (Number(params.get('duration_ms_min') ?? 0) > row.duration_ms) return false;
    }
    for (const [key, value] of params) {
      if (RESERVED.has(key)) continue;
      if (key.startsWith('attr.')) {
        if (String(row.attrs[key.slice(5)]) !== value) return false;
      } else if (row.ids[key] !== value) return false;
    }
    const text = isLog ? row.body : `${row.name} ${row.status_message} ${Object.values(row.attrs).join(' ')}`;
    return finds.every((f) => f.test(text));
  };
}

const bare = ({ us: _us, tookUs: _took, ...row }) => row;

export function startFixture({ port = 0, seed = 20_261_121, daysBack = 0 } = {}) {
  const started = Date.now();
  const store = new Store(seed, started, daysBack);
  const control = {
    delayMs: 0,
    fail: {},
    partial: false,
    never: false,
    down: false,
    lag_ms: 1200,
    dropped: 0,
    token: '',
    workspace: 'default',
    skew: [],
  };
  const manifest = JSON.parse(readFileSync(join(dist, 'manifest.json'), 'utf8'));
  const known = new Map(manifest.files.map((f) => [`/${f.path}`, f]));
  const csp = `default-src 'self'; script-src 'self' ${manifest.csp_script_hashes.map((h) => `'${h}'`).join(' ')}; frame-ancestors 'none'; base-uri 'self'; report-uri /_csp`;
  const tails = new Set();
  const stats = { csp: [], requests: [] };
  let requestId = 0;

  const pageOf = (rows, params, isLog) => {
    const now = Date.now() * 1000;
    const from = bound(params.get('from') ?? '', 0) || -Infinity;
    const to = params.get('to') ? bound(params.get('to'), now) : Infinity;
    const lower = params.get('from') ? bound(params.get('from'), now) : from;
    const ok = matches(params, isLog);
    const found = control.never ? [] : rows.filter((r) => r.us >= lower && r.us < to && ok(r));
    if (params.get('order') !== 'asc') found.reverse();
    const start = Number(params.get('cursor') ?? 0);
    const limit = Math.min(1000, Number(params.get('limit') ?? 100));
    const next = start + limit < found.length ? String(start + limit) : null;
    return { rows: found.slice(start, start + limit).map(bare), next, found, lower, to };
  };
  const kindsOf = (id) => {
    const kinds = new Map();
    const add = (kind, row, what) => {
      const k = kinds.get(kind) ?? { kind, t: new Set(), logs: 0, events: 0, first: Infinity, last: -Infinity };
      if (what === 'span') k.t.add(row.trace_id);
      else if (what === 'event') k.events += 1;
      else k.logs += 1;
      k.first = Math.min(k.first, row.us);
      k.last = Math.max(k.last, row.us);
      kinds.set(kind, k);
    };
    for (const [rows, what] of [
      [store.spans, 'span'],
      [store.logs, 'log'],
      [store.events, 'event'],
    ]) {
      for (const row of rows) {
        if (row.trace_id === id) add('trace_id', row, what);
        if (row.span_id === id) add('span_id', row, what);
        for (const [k, v] of Object.entries(row.ids)) if (v === id) add(k, row, what);
      }
    }
    if (id === IDS.big) add('trace_id', { us: store.bigOutline().start, trace_id: id }, 'span');
    return [...kinds.values()].map((k) => ({
      kind: k.kind,
      traces: k.t.size,
      logs: k.logs,
      events: k.events,
      first_ts: ts(k.first),
      last_ts: ts(k.last),
    }));
  };

  const api = (path, params) => {
    let m;
    if ((m = /^\/api\/v1\/traces\/([^/]+)\/outline$/.exec(path))) {
      const id = decodeURIComponent(m[1]).toLowerCase();
      if (id === IDS.big) return { raw: store.bigOutline().json };
      const list = store.byTrace.get(id);
      if (!list || control.never)
        return { status: 404, title: 'Not found', detail: 'No span of this trace is stored.' };
      const spans = list.toSorted((a, b) => a.us - b.us);
      const names = [...new Set(spans.map((s) => s.name))];
      const services = [...new Set(spans.map((s) => s.service_name))];
      const index = new Map(spans.map((s, i) => [s.span_id, i]));
      return {
        body: {
          trace_id: id,
          start_ts: spans[0].ts,
          names,
          services,
          span_count: spans.length,
          error_count: spans.filter((s) => s.status === 'error').length,
          partial: id === IDS.cut,
          spans: spans.map((s) => [
            s.span_id,
            index.get(s.parent_span_id) ?? -1,
            names.indexOf(s.name),
            services.indexOf(s.service_name),
            s.us - spans[0].us,
            s.tookUs,
            { unset: 0, ok: 1, error: 2 }[s.status],
            1,
          ]),
        },
      };
    }
    if (path === '/api/v1/spans') {
      if (params.get('trace_id') === IDS.big) {
        const big = store.bigOutline();
        const at = big.rows.findIndex((r) => r[0] === params.get('span_id'));
        const r = big.rows[Math.max(0, at)];
        const one = new Store.Blank().span(
          IDS.big,
          r[1] < 0 ? '' : big.rows[r[1]][0],
          big.services[r[3]],
          big.names[r[2]],
          big.start + r[4],
          r[5],
          {
            span_id: r[0],
            status: ['unset', 'ok', 'error'][r[6]],
            status_message: r[6] === 2 ? 'step failed' : '',
            attrs: { index: at },
          },
        );
        return { body: { spans: [bare(one)], next_cursor: null, partial: control.partial } };
      }
      const p = pageOf(store.spans, params, false);
      return { body: { spans: p.rows, next_cursor: p.next, partial: control.partial } };
    }
    if (path === '/api/v1/logs') {
      const p = pageOf(store.logs, params, true);
      return { body: { logs: p.rows, next_cursor: p.next, partial: control.partial } };
    }
    if (path === '/api/v1/logs/histogram') {
      const p = pageOf(store.logs, params, true);
      const now = Date.now() * 1000;
      const to = Number.isFinite(p.to) ? p.to : now;
      const from = Number.isFinite(p.lower) ? p.lower : to - 3600e6;
      const n = Number(params.get('buckets') ?? 60);
      const bucketMs = Math.max(1, Math.ceil((to - from) / 1000 / n));
      const buckets = Array.from({ length: n }, (_, i) => ({
        ts: ts(from + i * bucketMs * 1000),
        trace: 0,
        debug: 0,
        info: 0,
        warn: 0,
        error: 0,
        fatal: 0,
        unset: 0,
      }));
      for (const row of p.found) {
        const b = buckets[Math.floor((row.us - from) / 1000 / bucketMs)];
        if (b) b[row.level] += 1;
      }
      return { body: { from: ts(from), to: ts(to), bucket_ms: bucketMs, buckets, total: p.found.length } };
    }
    if ((m = /^\/api\/v1\/journeys\/([^/]+)$/.exec(path))) {
      const id = decodeURIComponent(m[1]);
      const kinds = control.never ? [] : kindsOf(id);
      if (kinds.length === 0)
        return { status: 404, title: 'Not found', detail: 'Nothing is known of this identifier.' };
      const kind = params.get('kind');
      const is = (row) =>
        kind
          ? (row[kind] ?? row.ids[kind]) === id
          : row.trace_id === id || row.span_id === id || Object.values(row.ids).includes(id);
      const now = Date.now() * 1000;
      const from = params.get('from') ? bound(params.get('from'), now) : -Infinity;
      const inTime = (row) => row.us >= from && is(row);
      const items = [
        ...store.spans.filter(inTime).map((s) => ({ type: 'span', ...s })),
        ...store.logs.filter(inTime).map((l) => ({ type: 'log', ...l })),
        ...store.events.filter(inTime).map((e) => ({ type: 'event', ...e })),
      ]
        .filter((item) => !params.get('items') || params.get('items').split(',').includes(item.type))
        .sort((a, b) => a.us - b.us);
      const start = Number(params.get('cursor') ?? 0);
      const limit = Number(params.get('limit') ?? 100);
      return {
        body: {
          value: id,
          kinds,
          trace_ids: [...new Set(items.filter((i) => i.type === 'span').map((i) => i.trace_id))].toReversed(),
          items: items.slice(start, start + limit).map(bare),
          next_cursor: start + limit < items.length ? String(start + limit) : null,
          partial: control.partial,
        },
      };
    }
    if (path === '/api/v1/resolve')
      return { body: { id: params.get('id'), kinds: control.never ? [] : kindsOf(params.get('id')) } };
    if (path === '/api/v1/ingest/balance') {
      const row = (sender, signal, n) => ({
        sender,
        signal,
        received: n,
        duplicate: 0,
        rejected: {},
        redacted_away: 0,
        stored: n,
        sampled_out: 0,
        expired: 0,
        pending: 0,
        balanced: true,
      });
      const senders = control.never
        ? []
        : [row('web', 'traces', 2100), row('web', 'logs', 1300), row('worker', 'metrics', 800)];
      return { body: { senders, totals: {} } };
    }
    if (path === '/api/v1/me') {
      return {
        body: {
          workspace: control.workspace,
          name: 'fixture',
          scopes: ['ingest', 'read'],
          clients: null,
          development: false,
        },
      };
    }
    if (path === '/api/v1/ingest/status') {
      return {
        body: {
          lag_ms: control.lag_ms,
          readable_watermark_ts: ts(Date.now() * 1000 - control.lag_ms * 1000),
          rates: control.never
            ? { spans_per_second: 0, logs_per_second: 0, points_per_second: 0 }
            : { spans_per_second: 1240.4, logs_per_second: 312.2, points_per_second: 41.7 },
          spool: { bytes: 1_153_434, bytes_max: 536_870_912, oldest_age_ms: 900 },
          rejected_recent: 0,
          dropped_recent: control.dropped,
          refused_rows: 0,
          engine: { state: 'ready', restarts: 0 },
          skew: control.skew,
        },
      };
    }
    return { status: 404, title: 'Not found', detail: `There is no ${path}.` };
  };

  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://fixture');
    const id = `r-${(requestId += 1)}`;
    stats.requests.push(`${request.method} ${request.url}`);
    response.setHeader('X-Request-Id', id);
    const problem = (status, title, detail) => {
      response.writeHead(status, { 'Content-Type': 'application/problem+json' });
      response.end(JSON.stringify({ type: 'about:blank', title, status, detail, code: 'fixture', request_id: id }));
    };
    const body = (then) => {
      let text = '';
      request.on('data', (c) => (text += c));
      request.on('end', () => then(text));
    };
    if (url.pathname === '/_fixture' && request.method === 'GET') {
      return response.end(JSON.stringify({ tails: tails.size }));
    }
    if (url.pathname === '/_fixture') {
      return body((text) => {
        Object.assign(control, JSON.parse(text));
        if (control.down) for (const t of tails) t.response.destroy();
        response.end('{}');
      });
    }
    if (url.pathname === '/_fixture/log') {
      return body((text) => {
        for (const one of [JSON.parse(text)].flat()) {
          const l = store.log(Date.now() * 1000, one.level ?? 'info', one.service ?? 'worker', one.body ?? 'line', one);
          for (const t of tails)
            if (t.ok(l)) t.response.write(`id: ${store.logs.length}\nevent: log\ndata: ${JSON.stringify(bare(l))}\n\n`);
        }
        response.end('{}');
      });
    }
    if (url.pathname === '/_fixture/dropped') {
      for (const t of tails) t.response.write('event: dropped\ndata: {"count":312}\n\n');
      return response.end('{}');
    }
    if (url.pathname === '/_csp') return body((text) => (stats.csp.push(text), response.end()));
    if (url.pathname.startsWith('/api/')) {
      if (control.down) return request.socket.destroy();
      if (control.token !== '' && request.headers.authorization !== `Bearer ${control.token}`)
        return problem(401, 'Unauthorized', 'A token is needed.');
      const failed = Object.entries(control.fail).find(([part]) => url.pathname.includes(part));
      if (failed)
        return problem(
          failed[1],
          'Failed',
          failed[1] === 403 ? 'Your role cannot see logs.' : 'The store did not answer in 30 s.',
        );
      if (url.pathname === '/api/v1/logs/tail') {
        response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
        response.write(': here\n\n');
        const tail = { response, ok: matches(url.searchParams, true) };
        tails.add(tail);
        const beat = setInterval(() => response.write(': beat\n\n'), 15_000);
        response.on('close', () => (clearInterval(beat), tails.delete(tail)));
        return undefined;
      }
      const slow = /\/(ingest|me)(\/|$)/.test(url.pathname) ? 0 : control.delayMs;
      const answer = () => {
        const a = api(url.pathname, url.searchParams);
        if (a.status) return problem(a.status, a.title, a.detail);
        response.setHeader('Content-Type', 'application/json');
        return response.end(a.raw ?? JSON.stringify(a.body));
      };
      return slow > 0 ? setTimeout(answer, slow) : answer();
    }
    const file = known.get(url.pathname) ?? known.get('/index.html');
    const headers = {
      'Content-Type': file.type,
      'Cache-Control': file.immutable ? 'public, max-age=31536000, immutable' : 'no-cache',
      'Content-Security-Policy': csp,
      'X-Content-Type-Options': 'nosniff',
    };
    const gzip = file.encodings.includes('gzip');
    if (gzip) headers['Content-Encoding'] = 'gzip';
    response.writeHead(200, headers);
    return response.end(readFileSync(join(dist, file.path + (gzip ? '.gz' : ''))));
  });
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', () => {
      resolve({
        url: `http://127.0.0.1:${server.address().port}`,
        stats,
        control,
        close: () => new Promise((done) => (server.closeAllConnections(), server.close(done))),
      });
    });
  });
}
// One span outside of all lists, for the trace that exists as an outline only.
Store.Blank = class {
  span(...args) {
    const sink = { rand: random(1), spans: [], byTrace: new Map() };
    Store.prototype.span.apply(sink, args);
    return sink.spans[0];
  }
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await startFixture({ port: Number(process.argv[2] ?? 0) });
  console.log(url);
}
