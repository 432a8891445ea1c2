// Where things are. A place has one address under /w/:workspace; everything else about the view is in the query.
import { computed, signal } from '@preact/signals';
import { prefix } from './data/api';
import { formatQuery, get, inWorkspace, parseQuery, patch, type Query } from './lib/url';

export type Place = 'journey' | 'traces' | 'logs' | 'start';

interface Location {
  readonly workspace: string;
  readonly place: Place | 'unknown' | 'home' | 'welcome';
  readonly id: string; // the last segment of /evidence/traces/:id
  readonly query: Query;
}

const PATHS: Readonly<Record<Place, string>> = {
  journey: 'evidence/journey',
  traces: 'evidence/traces',
  logs: 'evidence/logs',
  start: 'start',
};

// The workspace of our token, once the server has said which that is. Until then an address says '-', which no workspace
// can be called.
let own = '-';

// Filters go along from place to place; the time range, the selection and what is searched for belong to one place.
const TRAVELLING = ['client', 'platform', 'lane', 'tz', 'live'];

function read(): Location {
  const path = decodeURI(window.location.pathname.slice(prefix().length));
  const query = parseQuery(window.location.search);
  const match = /^\/w\/([^/]+)(?:\/(.*))?$/.exec(path.replace(/\/$/, ''));
  if (!match) {
    const place = path === '/' || path === '' ? 'home' : path === '/welcome' ? 'welcome' : 'unknown';
    return { workspace: own, place, id: '', query };
  }
  const workspace = match[1]!;
  const rest = match[2] ?? '';
  if (rest === '' || rest === 'evidence') return { workspace, place: 'home', id: '', query };
  const found = (Object.keys(PATHS) as Place[]).find((p) => PATHS[p] === rest);
  if (found) return { workspace, place: found, id: '', query };
  const trace = /^evidence\/traces\/([^/]+)$/.exec(rest);
  if (trace) return { workspace, place: 'journey', id: decodeURIComponent(trace[1]!), query };
  return { workspace, place: 'unknown', id: '', query };
}

export const location = signal<Location>({ workspace: own, place: 'home', id: '', query: [] });
export const place = computed(() => location.value.place);

// What is shown is always of our token's workspace: an address that names another is put right, without a step in the
// history.
export function enterWorkspace(name: string): void {
  own = name;
  const path = window.location.pathname.slice(prefix().length);
  const right = inWorkspace(path, name);
  if (right !== path) go(prefix() + right + window.location.search, 'replace');
  else if (location.peek().workspace !== name) location.value = read();
}

export function startRoutes(): void {
  location.value = read();
  window.addEventListener('popstate', () => {
    location.value = read();
  });
}

export function href(to: Place, query: Query = []): string {
  return `${prefix()}/w/${encodeURIComponent(location.value.workspace)}/${PATHS[to]}${formatQuery(query)}`;
}

// An address with the travelling filters and what is given.
export function travel(to: Place, params: Readonly<Record<string, string | undefined>> = {}): string {
  const kept = location.value.query.filter(([key]) => TRAVELLING.includes(key));
  return href(to, patch(kept, params));
}

export function go(url: string, how: 'push' | 'replace' = 'push'): void {
  if (how === 'push') history.pushState(null, '', url);
  else history.replaceState(null, '', url);
  location.value = read();
}

export function param(key: string): string {
  return get(location.value.query, key);
}

// Changes parameters of the current place. What a person chose can be undone with Back; what follows by itself
// (the row under the cursor) replaces.
export function setParams(
  changes: Readonly<Record<string, string | undefined>>,
  how: 'push' | 'replace' = 'push',
): void {
  const query = patch(location.peek().query, changes);
  const url = window.location.pathname + formatQuery(query);
  if (url !== window.location.pathname + window.location.search) go(url, how);
}

// A click on a link of ours stays in the page; with a modifier the browser does what it always does.
export function onLinkClick(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
    return;
  const link = (event.target as Element).closest?.('a[href]') as HTMLAnchorElement | null;
  if (!link || link.target !== '' || link.hasAttribute('download') || link.origin !== window.location.origin) return;
  if (!link.pathname.startsWith(`${prefix()}/w/`)) return;
  event.preventDefault();
  go(link.href);
}
