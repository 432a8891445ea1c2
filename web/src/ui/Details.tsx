// Lists of names and values with what can be done to each: copy, filter by it, follow it.
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { attribute, printable } from '../lib/fmt';
import { splitRedacted } from '../lib/redacted';
import { copyText } from './Copy';
import { Icon } from './Icon';
import css from './Details.module.css';

export function Section(props: {
  readonly title: string;
  readonly count?: number;
  readonly open?: boolean;
  readonly children: ComponentChildren;
}) {
  return (
    <details class={css.section} open={props.open ?? true}>
      <summary>
        <Icon name="chevron-right" size={12} />
        <h3>{props.title}</h3>
        {props.count !== undefined && <span class="faint small num">{props.count}</span>}
      </summary>
      {props.children}
    </details>
  );
}

const LONG = 600;

// Foreign text with its hidden characters made visible and redacted stretches told apart. Long text opens on request.
export function Foreign({ text, mono = false }: { readonly text: string; readonly mono?: boolean }) {
  const [all, setAll] = useState(false);
  const shown = all || text.length <= LONG ? text : text.slice(0, LONG);
  return (
    <span class={`foreign ${mono ? 'mono' : ''}`} dir="auto">
      {splitRedacted(shown).map((part, i) =>
        part.rule === undefined ? (
          printable(part.text)
        ) : (
          <span key={i} class={css.redacted} title={`Redacted before it was stored, by the rule ${part.rule}`}>
            ••• <span class={css.rule}>{part.rule}</span>
          </span>
        ),
      )}
      {shown.length < text.length && (
        <>
          …{' '}
          <button type="button" class="link" onClick={() => setAll(true)}>
            show all {text.length.toLocaleString()} characters
          </button>
        </>
      )}
    </span>
  );
}

export function Attributes(props: {
  readonly of: Readonly<Record<string, unknown>>;
  readonly onFilter?: ((key: string, value: string) => void) | undefined;
  readonly linkOf?: (key: string, value: string) => string | undefined;
  readonly empty?: string;
}) {
  const entries = Object.entries(props.of);
  if (entries.length === 0) return <p class="faint small">{props.empty ?? 'None.'}</p>;
  return (
    <dl class={css.list}>
      {entries
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, value]) => {
          const text = attribute(value);
          const link = props.linkOf?.(key, text);
          return (
            <div key={key} class={css.pair}>
              <dt class="foreign" title={key}>
                {printable(key)}
              </dt>
              <dd class="mono">
                <span class={css.value}>
                  {link === undefined ? (
                    <Foreign text={text} mono />
                  ) : (
                    <a class="link foreign" href={link}>
                      {printable(text)}
                    </a>
                  )}
                </span>
                <span class={css.actions}>
                  {props.onFilter && typeof value !== 'object' && (
                    <button
                      type="button"
                      title={`Only with this ${key}`}
                      aria-label={`Filter by ${printable(key)}`}
                      onClick={() => props.onFilter!(key, text)}
                    >
                      <Icon name="filter" size={12} />
                    </button>
                  )}
                  <button
                    type="button"
                    title="Copy the value"
                    aria-label={`Copy ${printable(key)}`}
                    onClick={() => void copyText(text, key)}
                  >
                    <Icon name="copy" size={12} />
                  </button>
                </span>
              </dd>
            </div>
          );
        })}
    </dl>
  );
}
