import type { ButtonHTMLAttributes, ComponentChildren } from 'preact';
import { Icon } from './Icon';
import css from './Button.module.css';

type Props = Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'class' | 'icon' | 'type' | 'disabled'> & {
  readonly look?: 'plain' | 'primary' | 'ghost';
  readonly small?: boolean;
  readonly icon?: string;
  readonly keys?: string;
  readonly disabled?: boolean;
  readonly type?: 'button' | 'submit';
  readonly class?: string;
  readonly children?: ComponentChildren;
};

export function Button({
  look = 'plain',
  small = false,
  icon,
  keys,
  children,
  type = 'button',
  class: extra,
  ...rest
}: Props) {
  const cls = [
    css.button,
    css[look],
    small ? css.small : '',
    children === undefined ? css.square : '',
    extra ?? '',
  ].join(' ');
  return (
    // oxlint-disable-next-line react/button-has-type
    <button type={type} class={cls} {...rest}>
      {icon && <Icon name={icon} size={14} />}
      {children}
      {keys && <Kbd>{keys}</Kbd>}
    </button>
  );
}

export function Kbd({ children }: { readonly children: ComponentChildren }) {
  return (
    <kbd class={`${css.kbd} keys`} aria-hidden="true">
      {children}
    </kbd>
  );
}

export interface Choice<T extends string> {
  readonly value: T;
  readonly label: string;
  readonly count?: string;
}

// One of a few, all in sight. Radio buttons to assistive technology and to the arrow keys.
export function Segments<T extends string>(props: {
  readonly label: string;
  readonly name: string;
  readonly choices: readonly Choice<T>[];
  readonly value: T;
  readonly onChange: (value: T) => void;
}) {
  return (
    <fieldset class={css.segments}>
      <legend class="sr">{props.label}</legend>
      {props.choices.map((choice) => (
        <label key={choice.value} class={choice.value === props.value ? css.on : ''}>
          <input
            type="radio"
            class="sr"
            name={props.name}
            checked={choice.value === props.value}
            onChange={() => props.onChange(choice.value)}
          />
          <span>{choice.label}</span>
          {choice.count !== undefined && <span class={`${css.count} num`}>{choice.count}</span>}
        </label>
      ))}
    </fieldset>
  );
}
