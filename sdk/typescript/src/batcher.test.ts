import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gate } from '../test/manual_clock.ts';
import { Batcher, type BatcherOptions, jsonOf } from './batcher.ts';
import { InvalidValueError, ProblemError, QueueFullError, UnreachableError } from './errors.ts';

function batcher(send: BatcherOptions<string>['send'], limits: Partial<BatcherOptions<string>> = {}): Batcher<string> {
  return new Batcher({
    name: 'test',
    itemsMax: 100,
    bytesMax: 1e3,
    queueItemsMax: 100,
    queueBytesMax: 1e4,
    inFlightMax: 1,
    send,
    errorOf: (answer) => (answer.startsWith('no') ? new Error(answer) : undefined),
    ...limits,
  });
}

test('calls of one turn travel in one request, and each gets its own answer', async () => {
  const sent: (readonly string[])[] = [];
  const calls = batcher(async (items) => {
    sent.push(items);
    return items.map((item) => (item === '2' ? 'no' : `yes ${item}`));
  });
  const answers = await Promise.allSettled([calls.add('1'), calls.add('2'), calls.add('3')]);
  assert.deepEqual(sent, [['1', '2', '3']]);
  assert.deepEqual(
    answers.map((one) => (one.status === 'fulfilled' ? one.value : `refused: ${one.reason.message}`)),
    ['yes 1', 'refused: no', 'yes 3'],
  );
});

test('what is added while a request is under way leaves with the next one', async () => {
  const sent: number[] = [];
  const first = gate();
  const calls = batcher(async (items) => {
    sent.push(items.length);
    if (sent.length === 1) await first.opened;
    return items.map(() => 'yes');
  });
  const one = calls.add('1');
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const more = [calls.add('2'), calls.add('3')];
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  assert.deepEqual(sent, [1]);
  first.open();
  await Promise.all([one, ...more]);
  assert.deepEqual(sent, [1, 2]);
});

test('a batch is bounded by items and by bytes', async () => {
  const sent: number[] = [];
  const send = async (items: readonly string[]): Promise<string[]> => {
    sent.push(items.length);
    return items.map(() => 'yes');
  };
  const byItems = batcher(send, { itemsMax: 2 });
  await Promise.all(['1', '2', '3', '4', '5'].map((item) => byItems.add(item)));
  assert.deepEqual(sent.splice(0), [2, 2, 1]);
  const byBytes = batcher(send, { bytesMax: 10 });
  await Promise.all(['"aaaa"', '"bbbb"', '1', '2'].map((item) => byBytes.add(item)));
  assert.deepEqual(sent, [1, 3]);
});

test('a full queue refuses, and takes again when it has drained', async () => {
  const hold = gate();
  const calls = batcher(
    async (items) => {
      await hold.opened;
      return items.map(() => 'yes');
    },
    { queueItemsMax: 2 },
  );
  const taken = [calls.add('1'), calls.add('2')];
  await assert.rejects(calls.add('3'), QueueFullError);
  hold.open();
  await Promise.all(taken);
  assert.equal(await calls.add('4'), 'yes');
});

test('an item above the limit is refused before it is sent', async () => {
  const calls = batcher(async () => assert.fail('nothing is sent'), { bytesMax: 4 });
  await assert.rejects(calls.add('"12345"'), InvalidValueError);
});

test('when a batch is refused for its content, only the bad item fails', async () => {
  let requests = 0;
  const calls = batcher(async (items) => {
    requests++;
    if (items.includes('"bad"')) throw new ProblemError(400, { code: 'invalid' }, '');
    return items.map((item) => `yes ${item}`);
  });
  const answers = await Promise.allSettled(['1', '2', '"bad"', '4'].map((item) => calls.add(item)));
  assert.deepEqual(
    answers.map((one) => one.status),
    ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
  );
  assert.ok(requests <= 5, `${requests} requests`);
});

test('when the server cannot be reached, everybody in the batch is told and the next batch is tried', async () => {
  let away = true;
  const calls = batcher(async (items) => {
    if (away) throw new UnreachableError('away');
    return items.map(() => 'yes');
  });
  const answers = await Promise.allSettled([calls.add('1'), calls.add('2')]);
  assert.ok(answers.every((one) => one.status === 'rejected' && one.reason instanceof UnreachableError));
  away = false;
  assert.equal(await calls.add('3'), 'yes');
});

test('drained() waits for what is queued and under way', async () => {
  const hold = gate();
  const calls = batcher(async (items) => {
    await hold.opened;
    return items.map(() => 'yes');
  });
  void calls.add('1');
  let drained = false;
  const waiting = calls.drained().then(() => {
    drained = true;
  });
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  assert.equal(drained, false);
  hold.open();
  await waiting;
  assert.equal(calls.pending, 0);
});

test('what JSON cannot say is an error with a name', () => {
  assert.throws(() => jsonOf(undefined, 'it'), InvalidValueError);
  assert.throws(() => jsonOf(1n, 'it'), InvalidValueError);
  const cycle: { self?: object } = {};
  cycle.self = cycle;
  assert.throws(() => jsonOf(cycle, 'it'), InvalidValueError);
});
