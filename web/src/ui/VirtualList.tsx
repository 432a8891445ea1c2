import type { ComponentChildren } from 'preact';
import { useEffect, useImperativeHandle, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { revealed, windowOf } from '../lib/window';
import css from './VirtualList.module.css';

export interface VirtualListHandle {
  reveal(index: number, margin?: number): void;
  scrollTo(top: number): void;
  readonly scrollTop: number;
  readonly visible: number; // whole rows that fit
  focus(): void;
}

interface Props {
  readonly label: string;
  readonly role?: 'grid' | 'treegrid';
  readonly count: number;
  readonly rowHeight: number;
  // Draws row `index` into the slot; must have role="row", the height given and `rowIndex` as its aria-rowindex, which
  // counts from 1 and the head as a row.
  readonly row: (index: number, rowIndex: number) => ComponentChildren;
  readonly activeId?: string | undefined;
  readonly columns: number;
  readonly head?: ComponentChildren;
  readonly handle?: { current: VirtualListHandle | null };
  readonly onNearEnd?: () => void;
  readonly onScroll?: (top: number) => void;
}

// A list of rows of one height of which only those in sight exist. Slots are kept and refilled while scrolling, so
// a frame changes text and positions and creates nothing.
export function VirtualList(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const { count, rowHeight } = props;

  useLayoutEffect(() => {
    const element = box.current!;
    const measure = () =>
      setView((v) => (v.height === element.clientHeight ? v : { ...v, height: element.clientHeight }));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const headRows = props.head === undefined ? 0 : 1;
  const headHeight = headRows * HEAD_PX;
  const body = Math.max(0, view.height - headHeight);
  useImperativeHandle(
    props.handle ?? { current: null },
    () => ({
      reveal(index: number, margin = 0) {
        const element = box.current!;
        const height = element.clientHeight - headHeight;
        const top = revealed(index, element.scrollTop, height, rowHeight, Math.min(margin, height / 3));
        if (top !== element.scrollTop) element.scrollTop = top;
      },
      scrollTo(top: number) {
        box.current!.scrollTop = top;
      },
      get scrollTop() {
        return box.current!.scrollTop;
      },
      get visible() {
        return Math.max(1, Math.floor((box.current!.clientHeight - headHeight) / rowHeight));
      },
      focus() {
        box.current!.focus({ preventScroll: true });
      },
    }),
    [rowHeight, headHeight],
  );

  const { first, last } = windowOf(view.top, body, rowHeight, count, OVERSCAN);
  const nearEnd = count > 0 && last >= count;
  useEffect(() => {
    if (nearEnd) props.onNearEnd?.();
  }, [nearEnd, count]);

  // Slot s draws the rows with index % pool == s. The slots stay in one order in the document, so that scrolling moves
  // none of them; where each row is seen is said by its transform, and its place in the list by aria-rowindex.
  const slots: ComponentChildren[] = [];
  const pool = Math.ceil(body / rowHeight) + 2 * OVERSCAN + 2;
  const base = first - (first % pool);
  for (let slot = 0; slot < pool; slot += 1) {
    const index = base + slot < first ? base + slot + pool : base + slot;
    if (index >= last) continue;
    slots.push(
      <div
        key={slot}
        class={css.slot}
        role="presentation"
        style={{ transform: `translateY(${index * rowHeight}px)`, height: `${rowHeight}px` }}
      >
        {props.row(index, index + headRows + 1)}
      </div>,
    );
  }
  return (
    <div
      ref={box}
      class={css.box}
      role={props.role ?? 'grid'}
      aria-label={props.label}
      aria-rowcount={count + headRows}
      aria-colcount={props.columns}
      aria-activedescendant={props.activeId}
      tabIndex={0}
      onScroll={(event) => {
        const top = event.currentTarget.scrollTop;
        setView((v) => ({ ...v, top }));
        props.onScroll?.(top);
      }}
    >
      {props.head !== undefined && (
        <div class={css.head} role="rowgroup">
          {props.head}
        </div>
      )}
      <div class={css.canvas} role="rowgroup" style={{ height: `${count * rowHeight}px` }}>
        {slots}
      </div>
    </div>
  );
}
export const HEAD_PX = 28;
const OVERSCAN = 4;
