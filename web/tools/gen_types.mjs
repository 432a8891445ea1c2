// Writes src/data/types.gen.ts from the server's description of its API (docs/openapi.yaml) and its catalogue of
// identifiers (packs/identifiers.yaml), or with --check fails when the file in the tree is not what those say.
//
// What comes out: the names of the identifiers, `ApiGet`, which maps each path to the query parameters and the JSON
// answer of its GET, and one readonly type per schema that those answers are made of. The page only reads, so nothing
// else of OpenAPI is written down.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

const web = join(dirname(fileURLToPath(import.meta.url)), '..');
const target = join(web, 'src/data/types.gen.ts');
const source = join(web, '../docs/openapi.yaml');
const spec = parse(readFileSync(source, 'utf8'));

const pascal = (name) => name.replace(/(^|[^A-Za-z0-9]+)([A-Za-z0-9])/g, (_, __, c) => c.toUpperCase());
const key = (name) => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name));
const named = new Set(); // schemas that what was written so far refers to
const refName = (ref) => pascal(ref.split('/').at(-1));

function resolve(node) {
  if (!node?.$ref) return node;
  return node.$ref
    .slice(2)
    .split('/')
    .reduce((at, part) => at[part.replaceAll('~1', '/').replaceAll('~0', '~')], spec);
}

function objectType(schema, indent) {
  const pad = '  '.repeat(indent + 1);
  const required = new Set(schema.required ?? []);
  const lines = Object.entries(schema.properties ?? {}).map(([name, value]) => {
    const doc = value.description
      ? `${pad}/** ${value.description.replaceAll('*/', '').replace(/\s+/g, ' ').trim()} */\n`
      : '';
    return `${doc}${pad}readonly ${key(name)}${required.has(name) ? '' : '?'}: ${type(value, indent + 1)};`;
  });
  const extra = schema.additionalProperties;
  if (lines.length === 0) {
    if (extra && typeof extra === 'object' && Object.keys(extra).length > 0)
      return `Readonly<Record<string, ${type(extra, indent)}>>`;
    return 'Readonly<Record<string, unknown>>';
  }
  return `{\n${lines.join('\n')}\n${'  '.repeat(indent)}}`;
}

function arrayType(schema, indent) {
  if (schema.prefixItems) return `readonly [${schema.prefixItems.map((s) => type(s, indent)).join(', ')}]`;
  const item = schema.items ? type(schema.items, indent) : 'unknown';
  return `readonly (${item})[]`.replace(/\(([\w.]+)\)/, '$1');
}

function type(schema, indent = 0) {
  if (schema === undefined || schema === true) return 'unknown';
  if (schema.$ref) {
    named.add(schema.$ref.split('/').at(-1));
    return refName(schema.$ref);
  }
  if ('const' in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((v) => JSON.stringify(v)).join(' | ');
  const several = schema.oneOf ?? schema.anyOf;
  if (several) return several.map((s) => type(s, indent)).join(' | ');
  if (schema.allOf) {
    const parts = schema.allOf.map((s) => type(s, indent));
    if (schema.properties) parts.push(objectType(schema, indent));
    return parts.join(' & ');
  }
  const kinds = Array.isArray(schema.type) ? schema.type : [schema.type ?? (schema.properties ? 'object' : 'any')];
  return kinds
    .map((kind) => {
      if (kind === 'object') return objectType(schema, indent);
      if (kind === 'array') return arrayType(schema, indent);
      if (kind === 'integer' || kind === 'number') return 'number';
      if (kind === 'string' || kind === 'boolean' || kind === 'null') return kind;
      return 'unknown';
    })
    .join(' | ');
}

function answer(operation) {
  const ok = Object.entries(operation.responses ?? {}).find(([code]) => code.startsWith('2'));
  const content = resolve(ok?.[1])?.content ?? {};
  return type((content['application/json'] ?? {}).schema, 2);
}

function operationType(item, operation) {
  const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolve);
  const query = parameters.filter((p) => p.in === 'query');
  const lines = query.map((p) => `      readonly ${key(p.name)}?: ${type(resolve(p.schema) ?? {}, 3)};`);
  return [
    `    readonly query: {${lines.length > 0 ? `\n${lines.join('\n')}\n    ` : ''}};`,
    `    readonly answer: ${answer(operation)};`,
  ].join('\n');
}

const identifiers = parse(readFileSync(join(web, '../packs/identifiers.yaml'), 'utf8')).identifiers.map((i) => i.name);

const paths = Object.entries(spec.paths ?? {})
  .filter(([path, item]) => path.startsWith('/api/') && item.get)
  .map(([path, item]) => `  readonly ${JSON.stringify(path)}: {\n${operationType(item, item.get)}\n  };`);
// A set gives what is added to it while it is walked, so this reaches what schemas refer to in turn.
const types = new Map();
for (const name of named) types.set(name, type(spec.components.schemas[name]));

const out = [
  '// Generated from docs/openapi.yaml and packs/identifiers.yaml by `npm run types`. Do not edit.',
  '',
  '// What a filter may be named, besides the parameters of each path.',
  `export const IDENTIFIERS: readonly string[] = ${JSON.stringify(identifiers)};\n`,
  ...Object.keys(spec.components?.schemas ?? {})
    .filter((name) => types.has(name))
    .map((name) => `export type ${pascal(name)} = ${types.get(name)};\n`),
  `export interface ApiGet {\n${paths.join('\n')}\n}`,
];
const text = `${out.join('\n').trimEnd()}\n`;

if (process.argv.includes('--check')) {
  if (!existsSync(target) || readFileSync(target, 'utf8') !== text) {
    console.error('gen_types: src/data/types.gen.ts does not match the API description; run `npm run types`');
    process.exit(1);
  }
} else {
  writeFileSync(target, text);
}
