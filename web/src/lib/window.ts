// Arithmetic of a virtual list with rows of one height.

export interface Window {
  readonly first: number; // index of the first row drawn
  readonly last: number; // one past the last
}

export function windowOf(scrollTop: number, viewport: number, rowHeight: number, count: number, overscan = 6): Window {
  if (count === 0) return { first: 0, last: 0 };
  const first = Math.max(0, Math.min(count - 1, Math.floor(scrollTop / rowHeight)) - overscan);
  const last = Math.min(count, Math.ceil((scrollTop + viewport) / rowHeight) + overscan);
  return { first, last: Math.max(first, last) };
}

// Where to scroll so that row `index` is seen whole; the same place when it already is.
export function revealed(index: number, scrollTop: number, viewport: number, rowHeight: number, margin = 0): number {
  const top = index * rowHeight;
  if (top - margin < scrollTop) return Math.max(0, top - margin);
  if (top + rowHeight + margin > scrollTop + viewport) return top + rowHeight + margin - viewport;
  return scrollTop;
}
