import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setup } from '../test/setup.ts';

const yes = { allowed: true, reason: null, switch: null, cache_ms: 1_000, on_unreachable: 'allow' };
const no = { allowed: false, reason: 'paused', switch: { id: 'sw_1' }, cache_ms: 1_000, on_unreachable: 'refuse' };

test('a verdict is good for as long as the server says, and no longer', async (t) => {
  const { server, clock, fettle } = await setup(t);
  server.mayI = [yes, no];
  const question = { clientId: 'acme', platform: 'x' };
  assert.deepEqual(await fettle.mayI(question), {
    allowed: true,
    reason: undefined,
    killSwitch: undefined,
    source: 'server',
  });
  clock.advance(999);
  assert.equal((await fettle.mayI(question)).source, 'cache');
  clock.advance(1);
  assert.deepEqual(await fettle.mayI(question), {
    allowed: false,
    reason: 'paused',
    killSwitch: { id: 'sw_1' },
    source: 'server',
  });
  assert.deepEqual(
    server.of('/may-i').map((one) => one.query),
    ['client_id=acme&platform=x', 'client_id=acme&platform=x'],
  );
});

test('another question is another verdict', async (t) => {
  const { server, fettle } = await setup(t);
  server.mayI = [yes, no];
  assert.equal((await fettle.mayI({ clientId: 'a' })).allowed, true);
  assert.equal((await fettle.mayI({ clientId: 'b' })).allowed, false);
});

test('the same question at the same time is asked once', async (t) => {
  const { server, fettle } = await setup(t);
  await Promise.all(Array.from({ length: 20 }, () => fettle.mayI({ tool: 'publish' })));
  assert.equal(server.of('/may-i').length, 1);
});

test('while the server is away, the rule of the action class that it gave last decides', async (t) => {
  const { server, clock, fettle } = await setup(t);
  server.mayI = [yes, no];
  await fettle.mayI({ actionClass: 'read' });
  await fettle.mayI({ actionClass: 'publish' });
  clock.advance(5_000);
  server.fail('/may-i', { cut: 'before' }, { cut: 'before' }, { status: 503 });
  const read = await fettle.mayI({ actionClass: 'read' });
  assert.deepEqual([read.allowed, read.source], [true, 'unreachable']);
  const publish = await fettle.mayI({ actionClass: 'publish' });
  assert.deepEqual([publish.allowed, publish.source], [false, 'unreachable']);
});

test('a class that the server never spoke of is refused while it is away, unless the caller says otherwise', async (t) => {
  const { server, fettle } = await setup(t);
  server.fail('/may-i', { cut: 'before' }, { cut: 'before' });
  assert.equal((await fettle.mayI({ tool: 'a' })).allowed, false);
  assert.equal((await fettle.mayI({ tool: 'a' }, { onUnreachable: 'allow' })).allowed, true);
});

test('a question that is refused is an error, not a verdict', async (t) => {
  const { server, fettle } = await setup(t);
  server.fail('/may-i', { status: 403 });
  await assert.rejects(fettle.mayI({ tool: 'a' }));
});
