// The cursor of a list and the pane that shows its row, with the keys of both. The cursor stays with its row: rows that
// come in on top, or a list that is loaded again, move its number and nothing that a person looks at.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { useKeys } from './useKeys';
import type { VirtualListHandle } from './VirtualList';

export interface ListCursor<Row> {
  readonly index: number; // -1: on no row
  readonly row: Row | undefined;
  readonly open: boolean;
  readonly list: { current: VirtualListHandle | null };
  readonly isOpen: () => boolean; // now, not as it was drawn
  readonly show: (index: number) => void; // with its pane
  readonly close: () => void;
  readonly reset: () => void; // back to the top, on no row
}

export function useListCursor<Row>(of: {
  readonly rows: readonly Row[];
  readonly same: (a: Row, b: Row) => boolean;
  readonly key: string; // another key is another list
  readonly one: string; // "line": what the keys call a row
  readonly rowHeight: number;
}): ListCursor<Row> {
  const { rows, same, one, rowHeight } = of;
  const chosen = useSignal<{ readonly index: number; readonly row: Row } | undefined>(undefined);
  const open = useSignal(false);
  const list = useRef<VirtualListHandle | null>(null);
  const latest = useRef(rows);
  latest.current = rows;

  const locate = (now: { readonly index: number; readonly row: Row } | undefined) => {
    if (!now) return -1;
    const there = latest.current[now.index];
    if (there !== undefined && same(there, now.row)) return now.index;
    return latest.current.findIndex((row) => same(row, now.row));
  };
  const where = () => locate(chosen.peek());
  const select = (index: number) => {
    const { length } = latest.current;
    if (length === 0) return;
    const at = Math.max(0, Math.min(length - 1, index));
    chosen.value = { index: at, row: latest.current[at]! };
    list.current?.reveal(at, rowHeight);
  };
  const reset = () => {
    chosen.value = undefined;
    open.value = false;
    list.current?.scrollTo(0);
  };
  const close = () => {
    open.value = false;
    list.current?.focus();
  };
  useEffect(reset, [of.key]);

  const pageRows = () => (list.current?.visible ?? 10) - 1;
  const details = () => {
    if (where() >= 0) open.value = true;
  };
  const group = 'List';
  useKeys([
    { keys: 'j', label: `Next ${one}`, group, run: () => select(where() + 1) },
    { keys: 'k', label: `Previous ${one}`, group, run: () => select(where() - 1) },
    { keys: 'ArrowDown', label: '', group, run: () => select(where() + 1) },
    { keys: 'ArrowUp', label: '', group, run: () => select(where() - 1) },
    { keys: 'Home', label: `Newest ${one}`, group, run: () => select(0) },
    { keys: 'End', label: `Oldest ${one} loaded`, group, run: () => select(latest.current.length - 1) },
    { keys: 'PageDown', label: '', group, run: () => select(where() + pageRows()) },
    { keys: 'PageUp', label: '', group, run: () => select(where() - pageRows()) },
    { keys: 'Enter', label: 'Details', group, run: details },
    { keys: 'o', label: '', group, run: details },
    ...(open.value ? [{ keys: 'Escape', label: 'Close details', group, run: close }] : []),
  ]);

  const index = locate(chosen.value);
  return {
    index,
    row: rows[index],
    open: open.value,
    list,
    isOpen: () => open.peek(),
    show: (at) => {
      chosen.value = { index: at, row: latest.current[at]! };
      open.value = true;
      list.current?.focus();
    },
    close,
    reset,
  };
}
