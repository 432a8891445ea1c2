// Stand-ins for what the agency does not own, so that the example needs no internet: a language model's API and the
// platforms. They are not instrumented, as the real ones would not be.
'use strict';
const { serve, ports, sleep, HttpError } = require('./lib/http.cjs');

const WORDS = 'fresh morning light over the harbour a new blend slow roasted by hand for people who notice come by and taste'.split(' ');
const sentence = (n) => Array.from({ length: n }, () => WORDS[Math.floor(Math.random() * WORDS.length)]).join(' ');
let posts = 0;

const routes = {
  'POST /llm': async (body) => {
    await sleep(60 + Math.random() * 240);
    const dice = Math.random();
    if (dice < 0.02) throw new HttpError(429, 'RATE_LIMITED', 'too many requests, try again in 2 s');
    if (dice < 0.03) throw new HttpError(504, 'API_TIMEOUT', 'Connection timeout after 5s');
    const input = 400 + Math.floor((body.prompt?.length ?? 0) / 4) + Math.floor(Math.random() * 300);
    return {
      id: `msg_${Math.random().toString(36).slice(2, 12)}`, model: `${body.model}-20250929`, finish_reason: 'stop',
      text: dice > 0.985 ? `guaranteed ${sentence(12)}` : sentence(20),
      usage: { input_tokens: input, output_tokens: 60 + Math.floor(Math.random() * 200), cache_read_tokens: Math.floor(input * 0.6) },
    };
  },
  'POST /platform/posts': async (body) => {
    await sleep(30 + Math.random() * 90);
    const dice = Math.random();
    if (dice < 0.02) throw new HttpError(503, 'HTTP_503', 'service unavailable');
    if (dice < 0.025) throw new HttpError(401, 'TOKEN_EXPIRED', 'the access token has expired');
    return { url: `https://${body.platform}.example/p/${++posts}` };
  },
};
serve(ports().standIns, routes, { error() {} });
