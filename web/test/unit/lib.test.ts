import { describe, expect, it } from 'vitest';
import { bind, conflicts, handle, setSingleKeys, suspend } from '../../src/lib/keys';
import { splitRedacted, cell } from '../../src/lib/redacted';
import { matcher, pieces, shapeOf } from '../../src/lib/search';
import { SseParser } from '../../src/lib/sse';
import { absolute, boundMs, isBound, isRelative, ms, preciseMs, rangeLabel } from '../../src/lib/time';
import { formatQuery, get, inWorkspace, parseQuery, patch, type Query } from '../../src/lib/url';
import { revealed, windowOf } from '../../src/lib/window';

describe('the address', () => {
  // A small generator instead of a library: keys and values of the characters that break query strings.
  const alphabet = ['a', 'B', '0', ' ', '&', '=', '%', '#', '+', '/', ':', ',', 'ü', '😀', '"', "'", '\u202e', '?'];
  let state = 12_345;
  const next = (n: number) => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) % n;
  const word = () => Array.from({ length: 1 + next(8) }, () => alphabet[next(alphabet.length)]!).join('');

  it('says again exactly what it was told, whatever that is', () => {
    for (let round = 0; round < 500; round += 1) {
      const query: Query = Array.from({ length: next(5) }, () => [word(), word()] as const);
      expect(parseQuery(formatQuery(query))).toEqual(query);
    }
  });
  it('keeps what it does not know, in its place', () => {
    const query = parseQuery('?from=-1h&mystery=42&q=a');
    expect(formatQuery(patch(query, { from: '-24h', q: undefined, level: 'warn' }))).toBe(
      '?from=-24h&mystery=42&level=warn',
    );
  });
  it('stays readable', () => {
    expect(
      formatQuery([
        ['from', '2026-11-21T09:00:00Z'],
        ['client', 'a,b'],
      ]),
    ).toBe('?from=2026-11-21T09:00:00Z&client=a,b');
    expect(get(parseQuery('?a=1&a=2'), 'a')).toBe('1');
  });
});

describe('the workspace of an address', () => {
  it('is the one it is put into, and the rest stays', () => {
    expect(inWorkspace('/w/-/evidence/journey', 'acme')).toBe('/w/acme/evidence/journey');
    expect(inWorkspace('/w/default', 'acme')).toBe('/w/acme');
    expect(inWorkspace('/w/globex/evidence/traces/w', 'acme')).toBe('/w/acme/evidence/traces/w');
    expect(inWorkspace('/w/acme/evidence/logs', 'acme')).toBe('/w/acme/evidence/logs');
  });
  it('is not put where there is none', () => {
    for (const path of ['/', '', '/w', '/w/', '/way/default/x']) expect(inWorkspace(path, 'acme')).toBe(path);
  });
});

describe('time', () => {
  it('knows a bound from a typing mistake', () => {
    for (const good of [
      '',
      'now',
      '-15m',
      '-7d',
      '2026-11-21T09:00:00Z',
      '2026-11-21',
      '2026-11-21T09:00:00.123+02:00',
    ])
      expect(isBound(good)).toBe(true);
    for (const bad of ['-15', '15m', 'yesterday', '2026-13-40', '21.11.2026', '-1y']) expect(isBound(bad)).toBe(false);
  });
  it('pins a relative range', () => {
    const now = Date.UTC(2026, 10, 21, 12);
    expect(absolute({ from: '-1h', to: '' }, now)).toEqual({
      from: '2026-11-21T11:00:00.000Z',
      to: '2026-11-21T12:00:00.000Z',
    });
    expect(boundMs('-90s', now)).toBe(now - 90_000);
    expect(isRelative({ from: '-1h', to: '2026-11-21T12:00:00Z' })).toBe(false);
  });
  it('is named as people say it', () => {
    expect(rangeLabel({ from: '-24h', to: '' }, String)).toBe('Last 24 h');
    expect(rangeLabel({ from: '-2h', to: '' }, String)).toBe('Last 2 h');
    expect(rangeLabel({ from: '', to: '' }, String)).toBe('All time');
  });
  it('keeps what is below a millisecond', () => {
    expect(ms('2026-11-21T09:14:32.123456789Z')).toBe(Date.UTC(2026, 10, 21, 9, 14, 32, 123));
    expect(preciseMs('1970-01-01T00:00:00.000001500Z')).toBeCloseTo(0.0015);
    expect(preciseMs('1970-01-01T00:00:01Z')).toBe(1000);
  });
});

describe('keys', () => {
  const press = (key: string, at = 0, more: Partial<KeyboardEvent> = {}) =>
    handle({ key, target: null, preventDefault: () => undefined, ...more } as KeyboardEvent, at);
  it('give the last bound the say', () => {
    const said: string[] = [];
    const one = bind([{ keys: 'j', label: '', group: '', run: () => said.push('page') }]);
    const two = bind([{ keys: 'j', label: '', group: '', run: () => said.push('dialog') }]);
    press('j');
    two();
    press('j');
    one();
    expect(press('j')).toBe(false);
    expect(said).toEqual(['dialog', 'page']);
  });
  it('know sequences, for a second', () => {
    let went = 0;
    const off = bind([{ keys: 'g e', label: '', group: '', run: () => (went += 1) }]);
    press('g', 0);
    press('e', 400);
    press('g', 1000);
    press('e', 2100);
    off();
    expect(went).toBe(1);
  });
  it('are quiet while somebody types, in a dialog, and when switched off', () => {
    let hits = 0;
    const off = bind([
      { keys: 'j', label: '', group: '', run: () => (hits += 1) },
      { keys: 'ArrowDown', label: '', group: '', run: () => (hits += 1) },
      { keys: 'Escape', label: '', group: '', run: () => (hits += 10) },
    ]);
    press('j', 0, { target: { tagName: 'INPUT', type: 'radio' } as unknown as HTMLElement });
    expect(hits).toBe(1);
    hits = 0;
    const input = { tagName: 'INPUT' } as unknown as HTMLElement;
    press('j', 0, { target: input });
    press('ArrowDown', 0, { target: { tagName: 'INPUT', type: 'radio' } as unknown as HTMLElement });
    press('Escape', 0, { target: input });
    const resume = suspend();
    press('j');
    resume();
    setSingleKeys(false);
    press('j');
    setSingleKeys(true);
    off();
    expect(hits).toBe(10);
  });
  it('can be checked for conflicts', () => {
    const b = (keys: string) => ({ keys, label: '', group: '', run: () => undefined });
    expect(conflicts([b('j'), b('k'), b('g e')])).toEqual([]);
    expect(conflicts([b('j'), b('j'), b('g'), b('g e')])).toEqual(['j', 'g']);
  });
});

describe('server-sent events', () => {
  it('come whole however the bytes were cut', () => {
    const text =
      ': hello\n\nid: 7\nevent: log\ndata: {"a":1}\n\nid:8\r\nevent: log\r\ndata: x\r\ndata: y\r\n\r\n: beat\n\nevent: dropped\ndata: {"count":3}\n\n';
    for (let size = 1; size < text.length; size += 3) {
      const parser = new SseParser();
      const events = [];
      for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)));
      expect(events).toEqual([
        { event: 'log', data: '{"a":1}', id: '7' },
        { event: 'log', data: 'x\ny', id: '8' },
        { event: 'dropped', data: '{"count":3}', id: '8' },
      ]);
      expect(parser.lastId).toBe('8');
    }
  });
});

describe('search', () => {
  const hits = (q: string, text: string) =>
    pieces(text, matcher(q))
      .filter((p) => p.hit)
      .map((p) => p.text);
  it('marks words, phrases and parts as the server matches them', () => {
    expect(hits('retry', 'Retry the retrying retry_count')).toEqual(['Retry', 'retry']);
    expect(hits('*tim*', 'timeout in Timer')).toEqual(['tim', 'Tim']);
    expect(hits('"no answer"', 'no   answer, no reply')).toEqual(['no   answer']);
    expect(hits('a+b (', 'a+b')).toEqual(['a+b']);
  });
  it('marks nothing without words', () => {
    expect(matcher('  ( ')).toBeUndefined();
    expect(pieces('x', undefined)).toEqual([{ text: 'x', hit: false }]);
  });
  it('knows the shapes of identifiers', () => {
    expect(shapeOf('4bf92f3577b34da6a3ce929d0e0e4736')).toBe('trace id');
    expect(shapeOf('T-4821')).toBe('ticket');
  });
});

describe('redaction', () => {
  it('is shown with the name of its rule', () => {
    expect(splitRedacted('key [redacted:aws_key]!')).toEqual([
      { text: 'key ' },
      { text: '[redacted:aws_key]', rule: 'aws_key' },
      { text: '!' },
    ]);
    expect(cell('Bearer [redacted:jwt]')).toBe('Bearer •••');
    expect(splitRedacted('[redacted:]')).toEqual([{ text: '[redacted:]' }]);
  });
});

describe('a virtual list', () => {
  it('draws what is in sight and a little more', () => {
    expect(windowOf(0, 600, 30, 1000, 4)).toEqual({ first: 0, last: 24 });
    expect(windowOf(3000, 600, 30, 1000, 4)).toEqual({ first: 96, last: 124 });
    expect(windowOf(1e9, 600, 30, 1000, 4)).toEqual({ first: 995, last: 1000 });
    expect(windowOf(0, 600, 30, 0)).toEqual({ first: 0, last: 0 });
  });
  it('scrolls no further than it must', () => {
    expect(revealed(10, 0, 600, 30)).toBe(0);
    expect(revealed(25, 0, 600, 30)).toBe(180);
    expect(revealed(2, 300, 600, 30)).toBe(60);
    expect(revealed(2, 300, 600, 30, 90)).toBe(0);
  });
});
