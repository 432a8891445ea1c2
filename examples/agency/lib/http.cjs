// The little HTTP that the example's programs speak among themselves: JSON in, JSON out.
'use strict';
const http = require('node:http');

class HttpError extends Error {
  constructor(status, code, message) { super(message); this.status = status; this.code = code; }
}

async function readJson(request) {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > 1_000_000) throw new HttpError(413, 'BODY_TOO_LARGE', 'body over 1 MB');
  }
  return text ? JSON.parse(text) : {};
}

// routes: {'POST /campaigns': async (body, url) => answer}
function serve(port, routes, log) {
  const server = http.createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    const route = routes[`${request.method} ${url.pathname}`];
    let status = 200, answer;
    try {
      if (!route) throw new HttpError(404, 'NOT_FOUND', 'no such route');
      answer = await route(await readJson(request), url);
    } catch (error) {
      status = error.status ?? 500;
      answer = { error: error.code ?? 'INTERNAL', message: error.message };
      if (status >= 500) log.error({ err: error, route: url.pathname }, 'request failed');
    }
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? null));
  });
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server)));
}

async function call(url, body, options = {}) {
  const response = await fetch(url, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
    signal: AbortSignal.timeout(options.timeoutMs ?? 10_000),
  });
  const answer = await response.json();
  if (!response.ok) throw new HttpError(response.status, answer?.error ?? `HTTP_${response.status}`, answer?.message ?? 'call failed');
  return answer;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ports = (base = Number(process.env.AGENCY_PORT ?? 7100)) => ({
  web: base, toolGateway: base + 1, browserRunner: base + 2, connector: base + 3, assets: base + 4, standIns: base + 5,
});
const address = (name) => `http://127.0.0.1:${ports()[name]}`;

module.exports = { HttpError, serve, call, sleep, ports, address };
