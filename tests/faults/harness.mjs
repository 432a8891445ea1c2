// A server that can be killed and started again on the same folder, senders that behave as the standard ones do, and
// the bytes they send.
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, until } from '../compat/server.mjs';

export { root, until };
export const binary = process.env.FETTLE_BINARY ?? join(root, 'build/release/bin/fettle');
export const ROUNDS = Number(process.env.FETTLE_FAULT_ROUNDS ?? 3);
export const STOP_SECONDS = Number(process.env.FETTLE_FAULT_STOP_SECONDS ?? 10);
export const JSON_TYPE = 'application/json';
export const PROTOBUF_TYPE = 'application/x-protobuf';
export const NDJSON_TYPE = 'application/x-ndjson';

export const sleep = (ms) => new Promise((ok) => setTimeout(ok, ms));
export const hex = (bytes) => randomBytes(bytes).toString('hex');
export const nanos = (ms = Date.now()) => `${Math.round(ms)}000000`;

// ---- the server ----------------------------------------------------------------------------------------------------

export class Fettle {
  constructor({ args = [], config, dev = true, data, http: address = '127.0.0.1:0' } = {}) {
    this.folder = mkdtempSync(join(tmpdir(), 'fettle-faults-'));
    this.data = data ?? join(this.folder, 'data');
    this.logFile = join(this.folder, 'server.log');
    this.args = ['serve', '--data', this.data, '--http', address, ...['otlp-http', 'otlp-grpc'].flatMap((name) => [`--${name}`, '127.0.0.1:0']), ...args];
    if (dev) this.args.push('--dev');
    if (config) {
      writeFileSync(join(this.folder, 'fettle.yaml'), config);
      this.args.push('--config', join(this.folder, 'fettle.yaml'));
    }
    this.isReady = false;
  }

  async start() {
    const log = createWriteStream(this.logFile, { flags: 'a' });
    const child = spawn(binary, this.args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    this.exited = new Promise((ok) => child.once('exit', (code, signal) => { this.isReady = false; ok({ code, signal }); }));
    await until('the server to be ready', async () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`it ended: ${this.log().slice(-2000)}`);
      const file = join(this.data, 'ports.json');
      if (!existsSync(file)) return false;
      this.ports = JSON.parse(readFileSync(file, 'utf8'));
      this.base = `http://127.0.0.1:${this.ports.http}`;
      this.otlp = `http://127.0.0.1:${this.ports.otlp_http}`;
      return (await fetch(`${this.base}/health/ready`)).ok;
    }, 60_000);
    this.isReady = true;
    return this;
  }

  log() { return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : ''; }
  get pid() { return this.child.pid; }

  async kill() {
    this.isReady = false;
    this.child.kill('SIGKILL');
    // The file of a killed server says where the last one listened; nobody is to take it for the next one's.
    await this.exited;
    rmSync(join(this.data, 'ports.json'), { force: true });
  }

  async terminate() {
    this.child.kill('SIGTERM');
    return this.exited;
  }

  // Ends the server and removes everything.
  async dispose() {
    if (this.child && this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGTERM');
      if (await Promise.race([this.exited, sleep(15_000).then(() => 'late')]) === 'late') this.child.kill('SIGKILL');
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  async json(path, { token, ...options } = {}) {
    const response = await fetch(this.base + path, { ...options, headers: { ...(token && { authorization: `Bearer ${token}` }), ...options.headers } });
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  async sql(query, token) {
    const { rows } = await this.json('/api/v1/sql', { method: 'POST', token, headers: { 'content-type': JSON_TYPE }, body: JSON.stringify({ query }) });
    return rows;
  }

  // Waits until nothing is pending and gives the lines of the books.
  async settled(token, ms = 180_000) {
    return until('an empty queue', async () => {
      const { senders } = await this.json('/api/v1/ingest/balance', { token });
      if (senders.length > 0 && senders.every((one) => one.pending === 0)) return senders;
      throw new Error(JSON.stringify([senders, await this.json('/api/v1/ingest/status', { token })]));
    }, ms);
  }

  // The engine is the server's only child; it belongs to one of its threads.
  enginePid() {
    for (const thread of readdirSync(`/proc/${this.pid}/task`)) {
      const children = readFileSync(`/proc/${this.pid}/task/${thread}/children`, 'utf8').trim();
      if (children) return Number(children.split(' ')[0]);
    }
    return 0;
  }

  async killEngine(signal = 'SIGKILL') {
    const pid = await until('an engine', () => this.enginePid());
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;  // it ended by itself in this very moment
    }
    return pid;
  }

  residentKiB() {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))[1]);
  }
}

// Runs the program to its end.
export function run(args, { env, timeout = 30_000 } = {}) {
  const done = spawnSync(binary, args, { encoding: 'utf8', env: { ...process.env, ...env }, timeout });
  return { code: done.status, signal: done.signal, out: done.stdout, err: done.stderr };
}

// One HTTP request, on a connection of its own unless an agent is given. Resolves with {status, headers, body} or rejects
// as the connection does.
export function request(url, { method = 'POST', headers = {}, body, agent = false } = {}) {
  return new Promise((ok, fail) => {
    const sent = http.request(url, { method, headers: { ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }), ...headers }, agent, timeout: 60_000 }, (response) => {
      const pieces = [];
      response.on('data', (piece) => pieces.push(piece));
      response.on('error', fail);
      response.on('end', () => ok({ status: response.statusCode, headers: response.headers, body: Buffer.concat(pieces) }));
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer in 60 s')));
    sent.on('error', fail);
    sent.end(body);
  });
}

export const post = (server, path, type, body, headers = {}) =>
  request(server.otlp + path, { headers: { ...(type && { 'content-type': type }), ...headers }, body });

// ---- what is sent --------------------------------------------------------------------------------------------------

export const any = (value) => {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (Number.isSafeInteger(value)) return { intValue: String(value) };
  if (typeof value === 'number') return { doubleValue: value };
  if (Buffer.isBuffer(value)) return { bytesValue: value.toString('base64') };
  if (Array.isArray(value)) return { arrayValue: { values: value.map(any) } };
  return { kvlistValue: { values: attributes(value) } };
};
export const attributes = (object) => Object.entries(object).map(([key, value]) => ({ key, value: any(value) }));

export const span = (fields = {}) => ({
  traceId: hex(16), spanId: hex(8), name: 'work', kind: 2, startTimeUnixNano: nanos(), endTimeUnixNano: nanos(Date.now() + 5), ...fields });
export const traces = (service, spans, { resource = {}, scope = { name: 'faults' } } = {}) => ({
  resourceSpans: [{ resource: { attributes: attributes({ 'service.name': service, ...resource }) }, scopeSpans: [{ scope, spans }] }] });
export const logs = (service, logRecords, { resource = {}, scope = { name: 'faults' } } = {}) => ({
  resourceLogs: [{ resource: { attributes: attributes({ 'service.name': service, ...resource }) }, scopeLogs: [{ scope, logRecords }] }] });
export const metrics = (service, list, { resource = {}, scope = { name: 'faults' } } = {}) => ({
  resourceMetrics: [{ resource: { attributes: attributes({ 'service.name': service, ...resource }) }, scopeMetrics: [{ scope, metrics: list }] }] });

// The same in protobuf, for what these tests send.
function varint(value) {
  let left = BigInt.asUintN(64, BigInt(value));
  const bytes = [];
  do {
    bytes.push(Number(left & 0x7fn) | (left > 0x7fn ? 0x80 : 0));
    left >>= 7n;
  } while (left > 0n);
  return Buffer.from(bytes);
}
export const field = {
  bytes: (number, value) => {
    const bytes = Buffer.from(value);
    return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
  },
  number: (number, value) => Buffer.concat([varint(number * 8), varint(value)]),
  fixed64: (number, value) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
    return Buffer.concat([varint(number * 8 + 1), bytes]);
  },
  double: (number, value) => {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value);
    return Buffer.concat([varint(number * 8 + 1), bytes]);
  },
};
const all = (number, list = [], encode) => list.map((one) => field.bytes(number, encode(one)));
const text = (number, value) => (value === undefined ? Buffer.alloc(0) : field.bytes(number, value));
const message = (...parts) => Buffer.concat(parts.flat());
function anyBytes(value) {
  if (value.stringValue !== undefined) return field.bytes(1, value.stringValue);
  if (value.boolValue !== undefined) return field.number(2, value.boolValue ? 1 : 0);
  if (value.intValue !== undefined) return field.number(3, value.intValue);
  if (value.doubleValue !== undefined) return field.double(4, value.doubleValue);
  if (value.arrayValue) return field.bytes(5, message(all(1, value.arrayValue.values, anyBytes)));
  if (value.kvlistValue) return field.bytes(6, message(all(1, value.kvlistValue.values, pairBytes)));
  return field.bytes(7, Buffer.from(value.bytesValue, 'base64'));
}
const pairBytes = (pair) => message(field.bytes(1, pair.key), field.bytes(2, anyBytes(pair.value)));
const id = (value = '') => Buffer.from(value, 'hex');
const resourceBytes = (resource) => message(all(1, resource.attributes, pairBytes));
const scopeBytes = (scope) => message(text(1, scope.name), text(2, scope.version), all(3, scope.attributes, pairBytes));
const spanBytes = (one) => message(
  field.bytes(1, id(one.traceId)), field.bytes(2, id(one.spanId)), text(3, one.traceState), one.parentSpanId ? field.bytes(4, id(one.parentSpanId)) : [],
  text(5, one.name), field.number(6, one.kind ?? 0), field.fixed64(7, one.startTimeUnixNano), field.fixed64(8, one.endTimeUnixNano),
  all(9, one.attributes, pairBytes),
  all(11, one.events, (event) => message(field.fixed64(1, event.timeUnixNano), text(2, event.name), all(3, event.attributes, pairBytes))),
  all(13, one.links, (link) => message(field.bytes(1, id(link.traceId)), field.bytes(2, id(link.spanId)), text(3, link.traceState), all(4, link.attributes, pairBytes))),
  one.status ? field.bytes(15, message(text(2, one.status.message), field.number(3, one.status.code ?? 0))) : []);
const logBytes = (one) => message(
  field.fixed64(1, one.timeUnixNano), field.number(2, one.severityNumber ?? 0), text(3, one.severityText), one.body ? field.bytes(5, anyBytes(one.body)) : [],
  all(6, one.attributes, pairBytes), one.traceId ? field.bytes(9, id(one.traceId)) : [], text(12, one.eventName));
const pointBytes = (one) => message(
  all(7, one.attributes, pairBytes), field.fixed64(3, one.timeUnixNano), field.double(4, one.asDouble),
  all(5, one.exemplars, (exemplar) => message(all(7, exemplar.filteredAttributes, pairBytes), field.fixed64(2, exemplar.timeUnixNano), field.double(3, exemplar.asDouble))));
const metricBytes = (one) => message(
  text(1, one.name), text(2, one.description), text(3, one.unit), field.bytes(5, message(all(1, one.gauge.dataPoints, pointBytes))), all(12, one.metadata, pairBytes));
export function protobuf(body) {
  if (body.resourceSpans) return message(all(1, body.resourceSpans, (r) => message(field.bytes(1, resourceBytes(r.resource)), all(2, r.scopeSpans, (s) => message(field.bytes(1, scopeBytes(s.scope)), all(2, s.spans, spanBytes))))));
  if (body.resourceLogs) return message(all(1, body.resourceLogs, (r) => message(field.bytes(1, resourceBytes(r.resource)), all(2, r.scopeLogs, (s) => message(field.bytes(1, scopeBytes(s.scope)), all(2, s.logRecords, logBytes))))));
  return message(all(1, body.resourceMetrics, (r) => message(field.bytes(1, resourceBytes(r.resource)), all(2, r.scopeMetrics, (s) => message(field.bytes(1, scopeBytes(s.scope)), all(2, s.metrics, metricBytes))))));
}

// ---- senders -------------------------------------------------------------------------------------------------------

// Several programs that send spans without a pause over kept-alive connections until told to stop. A request whose
// answer is lost is sent again, byte for byte, until it is answered; so is one that is told to come again.
export class Load {
  constructor(server, { senders = 4, spansPerRequest = 20, pauseMs = 2 } = {}) {
    Object.assign(this, { server, spansPerRequest, pauseMs });
    this.acknowledged = new Set();
    this.refusals = [];   // answers that said "come again"
    this.repeats = 0;     // requests that were sent more than once because their answer was lost
    this.requests = 0;
    this.stopping = false;
    this.running = Array.from({ length: senders }, (_, i) => this.send(i));
  }

  async send(index) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const encode = index % 2 === 0 ? (body) => [JSON_TYPE, Buffer.from(JSON.stringify(body))] : (body) => [PROTOBUF_TYPE, protobuf(body)];
    try {
      while (!this.stopping) {
        const spans = Array.from({ length: this.spansPerRequest }, () => span({ attributes: attributes({ 'http.request.method': 'GET', client_id: `c-${index}`, n: this.requests }) }));
        const [type, body] = encode(traces(`sender-${index}`, spans));
        await this.deliver(type, body, agent);
        for (const one of spans) this.acknowledged.add(one.spanId);
        this.requests += 1;
        await sleep(this.pauseMs);
      }
    } finally {
      agent.destroy();
    }
  }

  async deliver(type, body, agent) {
    for (;;) {
      await until('a running server', () => this.server.isReady, 90_000);
      try {
        const answer = await request(`${this.server.otlp}/v1/traces`, { headers: { 'content-type': type }, body, agent });
        if (answer.status === 200) return;
        if (answer.status !== 429 && answer.status !== 503) throw Object.assign(new Error(`refused for good: ${answer.status} ${answer.body}`), { isFinal: true });
        this.refusals.push(`${answer.status} ${answer.body}`);
        await sleep(200);
      } catch (error) {
        if (error.isFinal) throw error;
        this.repeats += 1;
        await sleep(20);
      }
    }
  }

  async stop() {
    this.stopping = true;
    await Promise.all(this.running);
  }
}

export function scratch() {
  const folder = mkdtempSync(join(tmpdir(), 'fettle-faults-'));
  mkdirSync(folder, { recursive: true });
  return folder;
}
