import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { suspend } from '../lib/keys';
import css from './Dialog.module.css';

// A modal over the page: the browser keeps the focus inside, gives it back afterwards and closes on Escape.
export function Dialog(props: {
  readonly label: string;
  readonly look?: 'middle' | 'top';
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current!;
    const before = document.activeElement as HTMLElement | null;
    dialog.showModal();
    const resume = suspend();
    return () => {
      resume();
      dialog.close();
      before?.focus?.();
    };
  }, []);
  return (
    // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/no-noninteractive-element-interactions
    <dialog
      ref={ref}
      class={`${css.dialog} ${props.look === 'top' ? css.top : ''}`}
      aria-label={props.label}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
      onClick={(event) => {
        if (event.target === ref.current) props.onClose();
      }}
    >
      <div class={css.inside}>{props.children}</div>
    </dialog>
  );
}
