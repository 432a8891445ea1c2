// Figures as every benchmark here prints and keeps them: "name value unit target ok|short", and a JSON file.
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const folder = resolve(import.meta.dirname, '../results');
const figures = [];
const notes = [];

const digits = (value) => Number(value.toPrecision(6));

export function note(text) {
  console.log(`# ${text}`);
  notes.push(text);
}

// want: {atLeast: x}, {atMost: x}, or nothing for a figure that is only shown.
export function report(name, value, unit, want = {}) {
  const target = want.atLeast ?? want.atMost;
  let verdict = '-';
  if (want.atLeast !== undefined) verdict = value >= want.atLeast ? 'ok' : 'short';
  if (want.atMost !== undefined) verdict = value <= want.atMost ? 'ok' : 'short';
  const shown = target === undefined ? '-' : `${want.atLeast === undefined ? '<=' : '>='}${digits(target)}`;
  console.log(`${name} ${digits(value)} ${unit} ${shown} ${verdict}`);
  figures.push({ name, value: digits(value), unit, target: digits(target ?? 0), verdict });
}

// 1 when a figure was short. Writes bench/results/NAME.json, unless only a part was measured.
export function finish(name, whole) {
  const lines = figures.map((figure) => `\n${JSON.stringify(figure)}`);
  if (whole)
    writeFileSync(
      join(folder, `${name}.json`),
      `{"benchmark":"${name}","notes":${JSON.stringify(notes)},"figures":[${lines}\n]}\n`,
    );
  return figures.some((figure) => figure.verdict === 'short') ? 1 : 0;
}
