import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setup } from '../test/setup.ts';
import { EffectUnknownError, NotPerformedError, Performed, RefusedError, RetryableError } from './index.ts';
import { canonicalJson, payloadHash } from './side_effect.ts';

const post = {
  action: 'publish',
  target: 'post/1',
  payload: { text: 'hello', tags: ['a'] },
  clientId: 'acme',
  platform: 'x',
};
const never = (): never => assert.fail('nothing is performed');

test('reserve, perform, verify, commit with proof', async (t) => {
  const { server, fettle } = await setup(t);
  const done = await fettle.sideEffect(
    post,
    () => new Performed({ id: 7 }),
    () => ({ visible: true, proof: { url: 'https://x.example/7' } }),
  );
  assert.deepEqual(done, { sideEffectId: 'fx_1', result: { id: 7 }, earlier: false, state: 'committed' });
  assert.deepEqual(server.of('/side-effects/reserve')[0]?.body, {
    action: 'publish',
    target: 'post/1',
    client_id: 'acme',
    platform: 'x',
    payload_hash: payloadHash({
      tags: ['a'],
      text: 'hello',
    }),
  });
  assert.deepEqual(server.of('/side-effects/fx_1/commit')[0]?.body, {
    result: { id: 7 },
    proof: { url: 'https://x.example/7' },
  });
});

test('what was performed but is not seen is committed without proof and never as visible', async (t) => {
  const { server, fettle } = await setup(t);
  const done = await fettle.sideEffect(
    post,
    () => 'sent',
    () => ({ visible: false }),
  );
  assert.equal(done.state, 'unverified');
  assert.deepEqual(server.of('/side-effects/fx_1/commit')[0]?.body, { result: 'sent', proof: { visible: false } });
});

test('what was committed earlier is answered, not performed', async (t) => {
  const { server, fettle } = await setup(t);
  server.decisions = [{ decision: 'committed', earlier: { result: { id: 3 } } }];
  const done = await fettle.sideEffect(post, never);
  assert.deepEqual([done.result, done.earlier], [{ id: 3 }, true]);
});

test('what an earlier try left in doubt is verified first: visible is not performed again', async (t) => {
  const { server, fettle } = await setup(t);
  server.decisions = [{ decision: 'unknown', earlier: { result: 9 } }];
  const done = await fettle.sideEffect(post, never, () => ({ visible: true, proof: { url: 'u' } }));
  assert.deepEqual([done.result, done.earlier, done.state], [9, true, 'committed']);
  assert.deepEqual(server.of('/side-effects/fx_1/verify')[0]?.body, { visible: true, proof: { url: 'u' } });
});

test('what an earlier try left in doubt is verified first: absent is reserved anew and performed', async (t) => {
  const { server, fettle } = await setup(t);
  server.decisions = [{ decision: 'unknown' }, { decision: 'go_on' }];
  let looked = 0;
  const done = await fettle.sideEffect(
    post,
    () => 'now',
    () => ({ visible: looked++ > 0, proof: { url: 'u' } }),
  );
  assert.deepEqual([done.result, done.earlier, done.sideEffectId], ['now', false, 'fx_2']);
});

test('in doubt and without a way to tell, nothing is performed', async (t) => {
  const { server, fettle } = await setup(t);
  server.decisions = [{ decision: 'unknown' }];
  await assert.rejects(fettle.sideEffect(post, never), EffectUnknownError);
  await assert.rejects(
    fettle.sideEffect(post, never, () => Promise.reject(new Error('the platform is down'))),
    EffectUnknownError,
  );
  assert.equal(server.of('/side-effects/fx_2/verify').length, 0);
});

test('what is refused is not performed', async (t) => {
  const { server, fettle } = await setup(t);
  server.decisions = [{ decision: 'refused', reason: 'kill switch' }];
  await assert.rejects(fettle.sideEffect(post, never), RefusedError);
});

test('what another worker is doing right now is left to it, and asked for again later', async (t) => {
  const { server, fettle } = await setup(t);
  server.decisions = [{ decision: 'in_progress' }];
  await assert.rejects(fettle.sideEffect(post, never), RetryableError);
});

test('a failure before anything became visible releases the reservation', async (t) => {
  const { server, fettle } = await setup(t);
  await assert.rejects(
    fettle.sideEffect(post, () => Promise.reject(new NotPerformedError('invalid text'))),
    NotPerformedError,
  );
  assert.deepEqual(server.of('/side-effects/fx_1/release')[0]?.body, { reason: 'invalid text' });
});

test('a failure in doubt is verified; visible counts as done, absent as not, unknown stays reserved', async (t) => {
  const { server, fettle } = await setup(t);
  const cut = (): Promise<never> => Promise.reject(new Error('connection cut'));
  server.decisions = [{ decision: 'go_on' }];
  const seen = await fettle.sideEffect(post, cut, () => ({ visible: true, proof: { url: 'u' }, result: 1 }));
  assert.deepEqual([seen.result, seen.state], [1, 'committed']);
  await assert.rejects(
    fettle.sideEffect(post, cut, () => ({ visible: false })),
    /connection cut/,
  );
  await assert.rejects(
    fettle.sideEffect(post, cut, () => ({ visible: undefined })),
    EffectUnknownError,
  );
  await assert.rejects(fettle.sideEffect(post, cut), EffectUnknownError);
  assert.deepEqual(
    [...server.effects.values()].map((effect) => effect.state),
    ['committed', 'released', 'reserved', 'reserved'],
  );
});

test('performed, but the commit fails: the effect is unknown, not repeated', async (t) => {
  const { server, fettle } = await setup(t, {
    retry: { retriesMax: 0, baseMs: 0, factor: 1, capMs: 0, elapsedMaxMs: 0 },
  });
  server.fail('/side-effects/fx_1/commit', { cut: 'before' }, { cut: 'before' });
  let performed = 0;
  await assert.rejects(
    fettle.sideEffect(post, () => ++performed),
    EffectUnknownError,
  );
  assert.equal(performed, 1);
});

test('nothing is performed once the run is to stop', async (t) => {
  const { server, fettle } = await setup(t);
  const abort = new AbortController();
  const effect = fettle.sideEffect(post, never, undefined, {
    runId: 'r',
    fence: 3,
    get signal() {
      // Stops the moment the reservation has been made.
      if (server.effects.size > 0) abort.abort(new Error('stopped'));
      return abort.signal;
    },
  });
  await assert.rejects(effect, /stopped/);
  assert.equal(server.effects.get('fx_1')?.state, 'released');
});

test('a hash does not depend on the order of members', () => {
  assert.equal(canonicalJson({ b: [1, { d: undefined, c: 'ü' }], a: null }), '{"a":null,"b":[1,{"c":"ü"}]}');
  assert.equal(canonicalJson({ at: new Date(0) }), '{"at":"1970-01-01T00:00:00.000Z"}');
  assert.equal(payloadHash({}), '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a');
});
