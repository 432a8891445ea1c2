import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CancelledError,
  FatalError,
  ProblemError,
  RefusedError,
  RetryableError,
  UnreachableError,
  errorObject,
  isRetryable,
  parseRetryAfter,
  retryAfterOf,
} from './errors.ts';

const WALL_MS = Date.UTC(2026, 9, 21, 7, 28, 0);
const coded = (code: string): Error => Object.assign(new Error(code), { code });
const status = (value: number): Error => Object.assign(new Error(`status ${value}`), { status: value });

test('an error is retried or not by its class, its status, its code, its name', () => {
  const cases: [unknown, boolean][] = [
    [new RetryableError('later'), true],
    [new FatalError('never'), false],
    [new UnreachableError('gone'), true],
    [new RefusedError('no', null), false],
    [new CancelledError(), false],
    [new ProblemError(503, {}, ''), true],
    [new ProblemError(422, {}, ''), false],
    ...[408, 425, 429, 500, 502, 503, 504, 529].map((one): [unknown, boolean] => [status(one), true]),
    ...[400, 401, 403, 404, 405, 410, 413, 415, 422, 501].map((one): [unknown, boolean] => [status(one), false]),
    [coded('ECONNRESET'), true],
    [coded('API_TIMEOUT'), true],
    [new TypeError('fetch failed', { cause: coded('ECONNREFUSED') }), true],
    [new TypeError('x is not a function'), false],
    [Object.assign(new Error('bad'), { name: 'ValidationError' }), false],
    [Object.assign(new Error('said so'), { retryable: false }), false],
    [new Error('who knows'), true],
    ['a bare string', true],
    [undefined, true],
  ];
  for (const [error, expected] of cases) assert.equal(isRetryable(error), expected, String(error));
});

test('Retry-After is seconds or a date; a past date is now, nonsense is nothing', () => {
  assert.equal(parseRetryAfter('120', WALL_MS), 120_000);
  assert.equal(parseRetryAfter('Wed, 21 Oct 2026 07:29:00 GMT', WALL_MS), 60_000);
  assert.equal(parseRetryAfter('Wednesday, 21-Oct-26 07:29:00 GMT', WALL_MS), 60_000);
  assert.equal(parseRetryAfter('Wed, 21 Oct 2020 07:29:00 GMT', WALL_MS), 0);
  assert.equal(parseRetryAfter('-5', WALL_MS), undefined);
  assert.equal(parseRetryAfter('soon', WALL_MS), undefined);
  assert.equal(parseRetryAfter(undefined, WALL_MS), undefined);
});

test("the wait that another client's error asks for is found", () => {
  assert.equal(retryAfterOf(new RetryableError('later', { retryAfterMs: 70 }), WALL_MS), 70);
  assert.equal(retryAfterOf({ headers: new Headers({ 'retry-after': '2' }) }, WALL_MS), 2_000);
  assert.equal(retryAfterOf({ headers: { 'retry-after-ms': '250', 'retry-after': '1' } }, WALL_MS), 250);
  assert.equal(retryAfterOf({ response: { headers: { 'retry-after': '3' } } }, WALL_MS), 3_000);
  assert.equal(retryAfterOf(new Error('plain'), WALL_MS), undefined);
});

test('an error object says type, message, code, status, causes and whether to retry', () => {
  const error = Object.assign(new Error('Connection timeout after 5s', { cause: new Error('socket') }), {
    code: 'API_TIMEOUT',
    status: 504,
  });
  const { stack, ...rest } = errorObject(error, WALL_MS);
  assert.deepEqual(rest, {
    type: 'Error',
    message: 'Connection timeout after 5s',
    code: 'API_TIMEOUT',
    status: 504,
    retryable: true,
  });
  assert.match(stack ?? '', /caused by: Error: socket/);
  assert.deepEqual(errorObject('plain', WALL_MS), { type: 'string', message: 'plain', retryable: true });
  assert.equal(errorObject(new Error('x'.repeat(10_000)), WALL_MS).message.length, 4096);
});
