import type { ComponentChildren } from 'preact';
import { Button } from './Button';
import css from './Pane.module.css';

// What the selected row is, beside the list; over it on narrow screens; the whole screen on a phone.
export function Pane(props: {
  readonly label: string;
  readonly title: ComponentChildren;
  readonly position?: string; // "3 of 120"
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}) {
  return (
    <aside class={`card ${css.pane}`} aria-label={props.label}>
      <header class={css.head}>
        <div class={css.title}>{props.title}</div>
        {props.position !== undefined && <span class="faint small num">{props.position}</span>}
        <Button small look="ghost" icon="x" aria-label="Close details" title="Close (Esc)" onClick={props.onClose} />
      </header>
      <div class={css.body} tabIndex={0} role="region" aria-label={`${props.label}, content`}>
        {props.children}
      </div>
    </aside>
  );
}
