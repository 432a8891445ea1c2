// One failed request with its logs, put into whichever server is under test: sent to a real one as OTLP/JSON, known
// beforehand of the fixture. Resolves when it can be read.
import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { IDS } from '../fixture_server.mjs';

const READABLE_WITHIN_MS = 20_000;

export async function seed(base) {
  if (!process.env.BASE_URL)
    return {
      traceId: IDS.crm,
      requestId: 'req_abc123',
      word: 'webhook',
      failed: 'tool.call hubspot.create_contact',
      client: 'brightside-dental',
    };
  const traceId = randomBytes(16).toString('hex');
  const mark = randomBytes(4).toString('hex');
  const seeded = {
    traceId,
    requestId: `req_${mark}`,
    word: `browsertest${mark}`,
    failed: 'tool.call create_contact',
    client: `client-${mark}`,
  };
  const spans = [randomBytes(8), randomBytes(8), randomBytes(8)].map((b) => b.toString('hex'));
  const start = BigInt(Date.now() - 5000) * 1_000_000n;
  const at = (ms) => String(start + BigInt(ms) * 1_000_000n);
  const text = (key, value) => ({ key, value: { stringValue: value } });
  const attributes = [text('request_id', seeded.requestId), text('client_id', seeded.client)];
  const resource = { attributes: [text('service.name', 'browser-test')] };
  const post = async (path, body) => {
    const answer = await fetch(`${base}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`);
  };
  await post('/v1/traces', {
    resourceSpans: [
      {
        resource,
        scopeSpans: [
          {
            scope: { name: 'browser-test' },
            spans: [
              {
                traceId,
                spanId: spans[0],
                name: 'http.request',
                kind: 2,
                startTimeUnixNano: at(0),
                endTimeUnixNano: at(900),
                attributes,
              },
              {
                traceId,
                spanId: spans[1],
                parentSpanId: spans[0],
                name: 'job.process',
                kind: 5,
                startTimeUnixNano: at(40),
                endTimeUnixNano: at(880),
                attributes,
                status: { code: 2 },
              },
              {
                traceId,
                spanId: spans[2],
                parentSpanId: spans[1],
                name: seeded.failed,
                kind: 3,
                startTimeUnixNano: at(100),
                endTimeUnixNano: at(800),
                attributes,
                status: { code: 2, message: 'API_TIMEOUT: no answer' },
                events: [
                  {
                    timeUnixNano: at(800),
                    name: 'exception',
                    attributes: [
                      text('exception.type', 'ConnectTimeoutError'),
                      text('exception.message', 'API_TIMEOUT: no answer'),
                    ],
                  },
                ],
              },
            ],
          },
        ],
      },
    ],
  });
  await post('/v1/logs', {
    resourceLogs: [
      {
        resource,
        scopeLogs: [
          {
            scope: { name: 'browser-test' },
            logRecords: [
              {
                timeUnixNano: at(10),
                severityNumber: 9,
                severityText: 'INFO',
                body: { stringValue: `${seeded.word} received` },
                traceId,
                spanId: spans[0],
                attributes,
              },
              {
                timeUnixNano: at(800),
                severityNumber: 17,
                severityText: 'ERROR',
                body: { stringValue: `${seeded.word} timed out` },
                traceId,
                spanId: spans[2],
                attributes,
              },
            ],
          },
        ],
      },
    ],
  });
  const until = Date.now() + READABLE_WITHIN_MS;
  while (Date.now() < until) {
    const known = await (await fetch(`${base}/api/v1/resolve?id=${seeded.requestId}`)).json();
    const found = await (await fetch(`${base}/api/v1/logs?q=${seeded.word}`)).json();
    if (known.kinds.length > 0 && found.logs.length === 2) return seeded;
    await wait(100);
  }
  throw new Error('what was sent did not become readable');
}

// One log line, now.
export async function sendLine(base, body) {
  const [path, line] = process.env.BASE_URL
    ? ['/api/v1/ingest/logs', { level: 'info', msg: body, service: 'browser-test', time: new Date().toISOString() }]
    : ['/_fixture/log', { level: 'info', body }];
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(`${base}${path}`, { method: 'POST', headers, body: JSON.stringify(line) });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`);
}
