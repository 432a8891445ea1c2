// The rows of a list of evidence, newest first: the first page, and the next ones as they are scrolled to.
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { get, token, type Answer } from './api';
import { noteSeen, type Seen } from './filters';
import { neverReceived } from './first_data';
import { Resource, valueOf, type Loaded } from './resource';
import { recovered } from './status';

const PAGE = 200;
export const KEPT_MAX = 20_000; // rows in the tab

type ListPath = '/api/v1/logs' | '/api/v1/spans';

interface Page<Row> {
  readonly key: string; // the question it answers
  readonly rows: readonly Row[];
  readonly cursor: string | null;
  readonly partial: boolean;
  readonly first: boolean;
}

export interface PagedList<Row> {
  readonly loaded: Loaded<Page<Row>>;
  readonly rows: readonly Row[];
  readonly partial: boolean; // a part of the store did not answer
  readonly first: boolean; // nothing was ever received
  readonly peek: () => readonly Row[]; // the rows as they are now, not as they were drawn
  readonly load: () => Promise<void>;
  readonly more: () => Promise<void>;
  readonly cancel: () => void;
  readonly putOnTop: (fresh: readonly Row[]) => void;
}

// Asks anew whenever `key`, which stands for `asked`, changes, and whenever the server is back or the token another.
export function usePagedList<P extends ListPath, Row extends Seen>(of: {
  readonly path: P;
  readonly asked: readonly (readonly [string, string])[];
  readonly key: string;
  readonly pick: (answer: Answer<P>) => readonly Row[];
}): PagedList<Row> {
  const { path, asked, key, pick } = of;
  const resource = useMemo(() => new Resource<Page<Row>>(), []);
  const busy = useRef('');

  const ask = async (cursor: string, abort?: AbortSignal): Promise<Page<Row>> => {
    const query = [...asked, ['limit', String(PAGE)] as const, ['order', 'desc'] as const, ['cursor', cursor] as const];
    const answer = await get(path, {}, query, abort);
    const rows = pick(answer);
    noteSeen(rows);
    return { key, rows, cursor: answer.next_cursor, partial: answer.partial, first: false };
  };
  const load = () =>
    resource.load(key, async (abort) => {
      const page = await ask('', abort);
      return { ...page, first: page.rows.length === 0 && (await neverReceived(abort).catch(() => false)) };
    });
  const more = async () => {
    const now = valueOf(resource.loaded.peek());
    if (!now || now.key !== key || now.cursor === null || now.rows.length >= KEPT_MAX) return;
    const which = `${key}\n${now.cursor}`;
    if (busy.current === which) return;
    busy.current = which;
    // Only for the list it continues: that may have been asked for anew meanwhile.
    const change = (to: (before: Page<Row>) => Page<Row>) =>
      resource.update((before) => (before.key === now.key && before.cursor === now.cursor ? to(before) : before));
    try {
      const next = await ask(now.cursor);
      change((before) => ({
        ...before,
        rows: [...before.rows, ...next.rows],
        cursor: next.cursor,
        partial: before.partial || next.partial,
      }));
    } catch {
      change((before) => ({ ...before, partial: true }));
    } finally {
      if (busy.current === which) busy.current = '';
    }
  };

  useEffect(() => void load(), [key, recovered.value, token.value]);
  useEffect(() => () => resource.stop(), []);

  const value = valueOf(resource.loaded.value);
  return {
    loaded: resource.loaded.value,
    rows: value?.rows ?? NONE,
    partial: value?.partial ?? false,
    first: value?.first ?? false,
    peek: () => valueOf(resource.loaded.peek())?.rows ?? NONE,
    load,
    more,
    cancel: () => resource.cancel(),
    putOnTop: (fresh) =>
      resource.update((before) => ({ ...before, first: false, rows: [...fresh, ...before.rows].slice(0, KEPT_MAX) })),
  };
}
const NONE: readonly never[] = [];
