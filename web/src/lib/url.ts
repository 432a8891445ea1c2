// The URL is the state: reading and writing the query part without losing what we do not know.
//
// A parameter nobody declared is kept through every change, in its place. Empty values are not written.

export type Query = readonly (readonly [string, string])[];

export function parseQuery(search: string): Query {
  return [...new URLSearchParams(search)].filter(([, value]) => value !== '');
}

// Commas, colons and slashes stay readable: these addresses are pasted into chats.
export function formatQuery(query: Query): string {
  if (query.length === 0) return '';
  const encode = (text: string) =>
    encodeURIComponent(text).replace(/%(2C|3A|2F|40|24)/gi, (code) => decodeURIComponent(code));
  return `?${query.map(([key, value]) => `${encode(key)}=${encode(value)}`).join('&')}`;
}

// The path of one of our places with another workspace in it; any other path as it is.
export function inWorkspace(path: string, name: string): string {
  return path.replace(/^\/w\/[^/]+(?=\/|$)/, () => `/w/${encodeURIComponent(name)}`);
}

export function get(query: Query, key: string): string {
  return query.find(([k]) => k === key)?.[1] ?? '';
}

// `undefined` and '' remove. A key already there keeps its place, so that a link does not reshuffle.
export function patch(query: Query, changes: Readonly<Record<string, string | undefined>>): Query {
  const left = new Map(Object.entries(changes));
  const out: [string, string][] = [];
  for (const [key, value] of query) {
    if (!left.has(key)) {
      out.push([key, value]);
      continue;
    }
    const next = left.get(key);
    left.delete(key);
    if (next) out.push([key, next]);
    else left.set(key, undefined);
  }
  const written = new Set(out.map(([key]) => key));
  for (const [key, value] of left) if (value && !written.has(key)) out.push([key, value]);
  return out;
}
