import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { useKeys } from './useKeys';
import css from './Popover.module.css';

// A button that opens a small panel below itself. Closes on Escape, on a click elsewhere, and when focus leaves.
export function Popover(props: {
  readonly label: string; // of the panel
  readonly buttonClass?: string;
  readonly button: ComponentChildren; // must have words of its own
  readonly align?: 'left' | 'right';
  readonly up?: boolean;
  readonly openKey?: string;
  readonly keyLabel?: string;
  readonly children: (close: () => void) => ComponentChildren;
}) {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLSpanElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  const close = () => {
    setOpen(false);
    if (box.current?.contains(document.activeElement)) button.current?.focus();
  };
  useEffect(() => {
    if (!open) return undefined;
    const elsewhere = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener('pointerdown', elsewhere);
    document.addEventListener('focusin', elsewhere);
    const first = box.current?.querySelector<HTMLElement>('[data-first], [role=dialog] button, [role=dialog] input');
    first?.focus();
    return () => {
      document.removeEventListener('pointerdown', elsewhere);
      document.removeEventListener('focusin', elsewhere);
    };
  }, [open]);
  useKeys([
    ...(props.openKey
      ? [{ keys: props.openKey, label: props.keyLabel ?? props.label, group: 'Everywhere', run: () => setOpen(true) }]
      : []),
    ...(open ? [{ keys: 'Escape', label: '', group: '', run: close }] : []),
  ]);
  return (
    <span class={css.box} ref={box}>
      <button
        type="button"
        ref={button}
        class={props.buttonClass}
        aria-haspopup="dialog"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        onClick={() => setOpen(!open)}
      >
        {props.button}
      </button>
      {open && (
        <div
          id={id}
          role="dialog"
          aria-label={props.label}
          class={`${css.panel} ${props.align === 'right' ? css.right : ''} ${props.up ? css.up : ''}`}
        >
          {props.children(close)}
        </div>
      )}
    </span>
  );
}
