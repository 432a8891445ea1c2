// After `vite build`: moves the notices of what is shipped beside it, compresses every file ahead of time, and writes
// manifest.json, from which the server knows what to embed and which inline scripts its CSP may allow:
//
//   {"csp_script_hashes": ["sha256-…"],
//    "files": [{"path", "type", "immutable", "bytes", "encodings": ["br", "gzip"]}]}
//
// `path` is below dist/; a compressed twin has the same path with .br or .gz behind. A twin that would not be smaller
// is left out.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const web = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(web, 'dist');
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
};
const COMPRESSED = new Set(['.html', '.js', '.css', '.svg', '.txt']);

// Licences of what is in the bundle, for the notices page.
const shipped = Object.keys(JSON.parse(readFileSync(join(web, 'package.json'), 'utf8')).dependencies);
shipped.push('@preact/signals-core');
const notices = shipped
  .sort()
  .map((name) => {
    const root = join(web, 'node_modules', name);
    const { version, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const file = readdirSync(root).find((f) => /^licen[cs]e/i.test(f));
    return `${name} ${version} (${license})\n\n${file ? readFileSync(join(root, file), 'utf8').trim() : ''}\n`;
  })
  .join(`\n${'-'.repeat(78)}\n\n`);
writeFileSync(join(dist, 'notices.txt'), notices);

const walk = (at) =>
  readdirSync(at, { withFileTypes: true }).flatMap((e) =>
    e.isDirectory() ? walk(join(at, e.name)) : [join(at, e.name)],
  );
for (const old of walk(dist).filter((f) => /\.(br|gz)$/.test(f) || f.endsWith('manifest.json'))) rmSync(old);

const files = walk(dist)
  .sort()
  .map((file) => {
    const bytes = readFileSync(file);
    const encodings = [];
    if (COMPRESSED.has(extname(file))) {
      const twins = [
        ['br', '.br', brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } })],
        ['gzip', '.gz', gzipSync(bytes, { level: 9 })],
      ];
      for (const [name, ending, packed] of twins) {
        if (packed.length >= bytes.length) continue;
        writeFileSync(file + ending, packed);
        encodings.push(name);
      }
    }
    const path = relative(dist, file);
    const type = TYPES[extname(file)];
    if (!type) throw new Error(`pack: no content type for ${path}`);
    // A hash in the name: the bytes behind it never change.
    return { path, type, immutable: /-[\w-]{8}\.\w+$/.test(path), bytes: bytes.length, encodings };
  });

const html = readFileSync(join(dist, 'index.html'), 'utf8');
const hashes = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(
  ([, text]) => `sha256-${createHash('sha256').update(text).digest('base64')}`,
);
writeFileSync(join(dist, 'manifest.json'), `${JSON.stringify({ csp_script_hashes: hashes, files }, undefined, 1)}\n`);
