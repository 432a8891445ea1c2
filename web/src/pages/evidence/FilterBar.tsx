// The filters of a list: what is searched for, and every other parameter of the address as a chip that can be removed.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ComponentChildren } from 'preact';
import { chips, seenAttributes, seenValues } from '../../data/filters';
import { oneLine } from '../../lib/fmt';
import { location, param, setParams } from '../../routes';
import { Button } from '../../ui/Button';
import { Icon } from '../../ui/Icon';
import { Popover } from '../../ui/Popover';
import { useKeys } from '../../ui/useKeys';
import css from './FilterBar.module.css';

const ADDABLE = [
  'service',
  'client',
  'platform',
  'lane',
  'request_id',
  'correlation_id',
  'run_id',
  'job_id',
  'episode_id',
  'ticket_id',
  'trace_id',
  'event_name',
  'attr.',
] as const;
const NAMES: Readonly<Record<string, string>> = { client: 'client_id', 'attr.': 'attribute…' };

export function FilterBar(props: {
  readonly of: 'spans' | 'logs';
  readonly hidden: readonly string[];
  readonly placeholder: string;
  readonly children?: ComponentChildren;
}) {
  const input = useRef<HTMLInputElement>(null);
  const q = param('q');
  useKeys([
    {
      keys: 'f',
      label: 'Search in this list',
      group: 'List',
      run: () => (input.current?.focus(), input.current?.select()),
    },
  ]);
  useEffect(() => {
    if (input.current && input.current !== document.activeElement) input.current.value = q;
  }, [q]);
  const all = chips(location.value.query, props.of, ['q', ...props.hidden]);
  const commit = () => setParams({ q: input.current!.value.trim(), sel: undefined });
  return (
    <div class={css.bar}>
      <form
        role="search"
        class={css.search}
        onSubmit={(event) => {
          event.preventDefault();
          commit();
        }}
      >
        <Icon name="search" size={14} />
        <label class="sr" for="list-q">
          Search
        </label>
        <input
          id="list-q"
          ref={input}
          defaultValue={q}
          placeholder={props.placeholder}
          autocomplete="off"
          spellcheck={false}
          onBlur={commit}
          onKeyDown={(event) => {
            if (event.key !== 'Escape') return;
            event.stopPropagation();
            event.currentTarget.value = '';
            commit();
            event.currentTarget.blur();
          }}
        />
        {q !== '' && (
          <button
            type="button"
            class={css.clear}
            aria-label="Clear the search"
            onClick={() => {
              input.current!.value = '';
              commit();
            }}
          >
            <Icon name="x" size={12} />
          </button>
        )}
      </form>
      {props.children}
      {all.map((chip) => (
        <span
          key={chip.key}
          class={`${css.chip} ${chip.problem ? css.problem : ''}`}
          title={chip.problem ? `Not applied: ${chip.problem}` : undefined}
        >
          <span class="faint">{oneLine(chip.label, 40)}</span>
          <b class="ell foreign">{oneLine(chip.value, 60)}</b>
          {chip.problem && <span class={css.why}>not applied</span>}
          <button
            type="button"
            aria-label={`Remove the filter ${oneLine(chip.label, 40)}`}
            onClick={() => setParams({ [chip.key]: undefined, sel: undefined })}
          >
            <Icon name="x" size={12} />
          </button>
        </span>
      ))}
      <AddFilter of={props.of} />
    </div>
  );
}

function AddFilter({ of }: { readonly of: 'spans' | 'logs' }) {
  const names = ADDABLE.filter((n) => of === 'logs' || n !== 'event_name');
  const [name, setName] = useState<string>(names[0]!);
  const [attr, setAttr] = useState('');
  const key = name === 'attr.' ? `attr.${attr.trim()}` : name;
  return (
    <Popover
      label="Add a filter"
      buttonClass={css.add!}
      button={
        <>
          <Icon name="plus" size={13} />
          <span class="sr">Add a </span>
          Filter
        </>
      }
    >
      {(close) => (
        <form
          class={css.form}
          onSubmit={(event) => {
            event.preventDefault();
            const value = (event.currentTarget.elements.namedItem('value') as HTMLInputElement).value.trim();
            if (value === '' || key === 'attr.') return;
            setParams({ [key]: value, sel: undefined });
            close();
          }}
        >
          <label class="small dim" for="filter-name">
            Field
          </label>
          <select id="filter-name" value={name} data-first onChange={(event) => setName(event.currentTarget.value)}>
            {names.map((n) => (
              <option key={n} value={n}>
                {NAMES[n] ?? n}
              </option>
            ))}
          </select>
          {name === 'attr.' && (
            <>
              <input
                value={attr}
                placeholder="http.route"
                aria-label="Attribute name"
                list="filter-attributes"
                autocomplete="off"
                spellcheck={false}
                onInput={(event) => setAttr(event.currentTarget.value)}
              />
              <Known id="filter-attributes" values={seenAttributes()} />
            </>
          )}
          <label class="small dim" for="filter-value">
            Equals
          </label>
          <input id="filter-value" name="value" list="filter-known" autocomplete="off" spellcheck={false} />
          <Known id="filter-known" values={seenValues(key)} />
          <Button small look="primary" type="submit">
            Add
          </Button>
        </form>
      )}
    </Popover>
  );
}

function Known({ id, values }: { readonly id: string; readonly values: readonly string[] }) {
  return (
    <datalist id={id}>
      {values.map((v) => (
        <option key={v} value={v} />
      ))}
    </datalist>
  );
}
