// The suite of any_server.test.mjs against the real program with a store of its own, on free ports: what it embeds,
// what it takes by OTLP/HTTP JSON and what it answers.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { root, startServer } from '../../../tests/compat/server.mjs';

const binary = process.env.FETTLE_BINARY ?? join(root, 'build/release/bin/fettle');
if (process.env.BASE_URL) {
  test('TheRealServer', { skip: 'BASE_URL names another server' }, () => undefined);
} else if (!existsSync(binary)) {
  test('TheRealServer', { skip: `${binary} is not built: ./dev build` }, () => undefined);
} else {
  const server = await startServer();
  after(() => server.stop());
  process.env.BASE_URL = server.base;
  await import('./any_server.test.mjs');
}
