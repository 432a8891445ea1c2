// Fails when what a browser has to fetch is above the budget. Sizes are of the gzip twins; fonts as they are.
import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = join(dirname(fileURLToPath(import.meta.url)), '../dist');
const KIB = 1024;
const { files } = JSON.parse(readFileSync(join(dist, 'manifest.json'), 'utf8'));
const size = (path) => {
  const file = files.find((f) => f.path === path);
  return file.encodings.includes('gzip') ? statSync(join(dist, `${path}.gz`)).size : file.bytes;
};
const sum = (list) => list.reduce((total, path) => total + size(path), 0);
const ending = (e) => files.map((f) => f.path).filter((p) => p.endsWith(e));

const html = readFileSync(join(dist, 'index.html'), 'utf8');
const entry = [...html.matchAll(/(?:src|href)="\.?\/?(assets\/[^"]+\.js)"/g)].map((m) => m[1]);
// The landing page is a chunk of its own, with what it shares with others.
const imports = (path, seen = new Set()) => {
  if (seen.has(path)) return seen;
  seen.add(path);
  const text = readFileSync(join(dist, path), 'utf8');
  for (const m of text.matchAll(/(?:from|import)\s*["']\.\/([\w.-]+\.js)["']/g)) imports(`assets/${m[1]}`, seen);
  return seen;
};
const first = new Set(entry.flatMap((e) => [...imports(e)]));
const landing = ending('.js').find((p) => /\/Journey-/.test(p));
if (landing) for (const path of imports(landing)) first.add(path);

const scripts = ending('.js');
const lazy = scripts.filter((p) => !first.has(p)).map(size);
const figures = [
  ['js_first_page', sum([...first]), 60],
  ['js_total', sum(scripts), 160],
  ['js_largest_lazy_chunk', Math.max(0, ...lazy), 30],
  ['css', sum(ending('.css')), 20],
  ['fonts', sum(ending('.woff2')), 90],
];
let short = false;
for (const [name, bytes, budget] of figures) {
  const ok = bytes <= budget * KIB;
  short ||= !ok;
  console.log(`${name} ${(bytes / KIB).toFixed(1)} KiB ${budget} ${ok ? 'ok' : 'short'}`);
}
process.exit(short ? 1 : 0);
