import { beforeEach, describe, expect, it } from 'vitest';
import {
  age,
  attribute,
  bytes,
  clockMs,
  count,
  duration,
  instant,
  middle,
  oneLine,
  percent,
  plural,
  printable,
  rate,
  setLocale,
  tickLabels,
} from '../../src/lib/fmt';

const plain = (text: string) => text.replaceAll('\u00a0', ' ');
beforeEach(() => setLocale('en-GB'));

describe('durations', () => {
  it.each([
    [0, '0 ms'],
    [0.0004, '1 µs'],
    [0.64, '640 µs'],
    [1.5, '1.5 ms'],
    [234.4, '234 ms'],
    [999.4, '999 ms'],
    [999.6, '1 s'],
    [1600, '1.6 s'],
    [59_940, '59.9 s'],
    [59_960, '1 m'],
    [250_000, '4 m 10 s'],
    [11_520_000, '3 h 12 m'],
    [187_200_000, '2 d 4 h'],
    [86_399_999, '1 d'],
    [-1500, '−1.5 s'],
    [Number.NaN, '—'],
  ])('%f ms is %s', (ms, said) => expect(plain(duration(ms))).toBe(said));
});

describe('numbers', () => {
  it('says <0.1 % for a share that is not zero', () => {
    expect(plain(percent(0.0002))).toBe('<0.1 %');
    expect(plain(percent(0))).toBe('0.0 %');
    expect(plain(percent(0.1314))).toBe('13.1 %');
  });
  it('never rounds a moving rate to nothing', () => {
    expect(rate(0.01)).toBe('<0.1');
    expect(rate(0)).toBe('0');
    expect(rate(3.14)).toBe('3.1');
    expect(rate(1240.4)).toBe('1,240');
  });
  it('counts in the locale', () => {
    expect(count(52_310)).toBe('52,310');
    setLocale('de-DE');
    expect(count(52_310)).toBe('52.310');
    expect(plain(duration(1600))).toBe('1,6 s');
    setLocale('fr-FR');
    expect(count(52_310)).toMatch(/^52\s310$/);
  });
  it('keeps one and many apart', () => {
    expect(plural(1, 'span')).toBe('1 span');
    expect(plural(0, 'span')).toBe('0 spans');
    expect(plural(2, 'idle stretch', 'idle stretches')).toBe('2 idle stretches');
  });
  it('writes bytes in binary units', () => {
    expect(plain(bytes(1023))).toBe('1,023 B');
    expect(plain(bytes(1_153_434))).toBe('1.1 MiB');
    expect(plain(bytes(536_870_912))).toBe('512 MiB');
  });
});

describe('instants', () => {
  const at = Date.UTC(2026, 10, 21, 9, 14, 32, 123);
  it('leaves the date out today alone', () => {
    expect(instant(at, 'utc', at + 3_600_000)).toBe('09:14:32.123');
    expect(instant(at, 'utc', at + 24 * 3_600_000)).toBe('21 Nov 09:14:32.123');
  });
  it('begins the day at 00, not at 24', () => {
    expect(clockMs(Date.UTC(2026, 0, 1, 0, 0, 1), 'utc')).toBe('00:00:01.000');
  });
  it('names no two ticks of an axis alike', () => {
    const hour = 3_600_000;
    const from = Date.UTC(2026, 10, 19, 18);
    const ticks = [0, 6, 12, 18, 30].map((h) => from + h * hour);
    expect(tickLabels(ticks, 30 * hour, 'utc')).toEqual(['18:00', '00:00', '06:00', '12:00', '00:00']);
    expect(tickLabels(ticks, 72 * hour, 'utc')).toEqual(['19 Nov 18:00', '20 Nov', '06:00', '12:00', '21 Nov']);
    expect(tickLabels([from, from + 30_000], 60_000, 'utc')).toEqual(['18:00:00', '18:00:30']);
  });
  it('has one unit for an age', () => {
    expect(plain(age(59_400))).toBe('59 s');
    expect(plain(age(33 * 60_000))).toBe('33 m');
    expect(plain(age(-5))).toBe('0 s');
  });
});

describe('foreign text', () => {
  it('shows what would hide or reorder', () => {
    expect(printable('a\u202eb\u200bc\u0007')).toBe('a\\u202eb\\u200bc\\u0007');
  });
  it('leaves joined emoji whole', () => {
    expect(printable('👩‍👩‍👧')).toBe('👩‍👩‍👧');
  });
  it('is one bounded line in a list, cut between characters', () => {
    expect(oneLine('a\n\tb')).toBe('a b');
    expect(oneLine('😀'.repeat(10), 3)).toBe('😀…');
    expect(oneLine('x'.repeat(10_000)).length).toBe(401);
  });
  it('shows both ends of an identifier', () => {
    expect(middle('4bf92f3577b34da6a3ce929d0e0e4736')).toBe('4bf92f3577b3…e4736');
    expect(middle('req_abc123')).toBe('req_abc123');
  });
  it('writes any attribute', () => {
    expect(attribute(['a', 1])).toBe('[ "a", 1 ]');
    expect(attribute(false)).toBe('false');
    expect(attribute(null)).toBe('—');
  });
});
