import { useState } from 'preact/hooks';
import { theme, type Theme } from '../data/prefs';
import { liveness, lastAnswerAt, status, tick } from '../data/status';
import { SHORT, paused, range, seenValues, zone } from '../data/filters';
import { clockShort, dayClock, duration } from '../lib/fmt';
import { PRESETS, boundMs, isBound, rangeLabel } from '../lib/time';
import { location, param, setParams } from '../routes';
import { Button, Kbd, Segments } from '../ui/Button';
import { Icon } from '../ui/Icon';
import { Popover } from '../ui/Popover';
import { Glyph } from '../ui/Status';
import { useKeys } from '../ui/useKeys';
import { overlay } from './overlay';
import css from './TopBar.module.css';

export function TopBar() {
  const { workspace, place } = location.value;
  const lists = place === 'logs' || place === 'traces';
  return (
    <header class={css.top}>
      <span class={css.workspace} title="Workspace">
        <span class="ell">{workspace}</span>
      </span>
      {lists && (
        <div class={css.filters}>
          <ShortFilter name="client" label="Client" />
          <ShortFilter name="platform" label="Platform" />
          <ShortFilter name="lane" label="Lane" />
        </div>
      )}
      <span class="sp" />
      <button type="button" class={css.find} onClick={() => (overlay.value = 'find')} aria-keyshortcuts="/">
        <Icon name="search" size={14} />
        <span class={css.findText}>Find by any identifier…</span>
        <Kbd>/</Kbd>
      </button>
      <TimeRange />
      <Live />
      <ThemeSwitch />
    </header>
  );
}

function ShortFilter({ name, label }: { readonly name: string; readonly label: string }) {
  const value = param(name);
  const known = seenValues(SHORT[name]!);
  const id = `known-${name}`;
  return (
    <Popover
      label={`${label} filter`}
      buttonClass={css.filter!}
      button={
        <>
          <span class="faint">{label}</span>
          <b class="ell">{value === '' ? 'All' : value}</b>
          <Icon name="chevron-down" size={12} />
        </>
      }
    >
      {(close) => (
        <form
          class={css.form}
          onSubmit={(event) => {
            event.preventDefault();
            const text = (event.currentTarget.elements.namedItem('value') as HTMLInputElement).value.trim();
            setParams({ [name]: text });
            close();
          }}
        >
          <label class="small dim" for={`${id}-input`}>
            {label} id
          </label>
          <input
            id={`${id}-input`}
            name="value"
            class={css.input}
            defaultValue={value}
            list={id}
            autocomplete="off"
            spellcheck={false}
            data-first
          />
          <datalist id={id}>
            {known.map((v) => (
              <option key={v} value={v} />
            ))}
          </datalist>
          <div class="row">
            <Button small look="primary" type="submit">
              Show only this
            </Button>
            {value !== '' && (
              <Button
                small
                look="ghost"
                onClick={() => {
                  setParams({ [name]: undefined });
                  close();
                }}
              >
                All
              </Button>
            )}
          </div>
        </form>
      )}
    </Popover>
  );
}

function TimeRange() {
  const now = range.value;
  const label = rangeLabel(now, (ms) => dayClock(ms, zone()));
  return (
    <Popover
      label="Time range"
      align="right"
      openKey="t"
      keyLabel="Time range"
      buttonClass={css.filter!}
      button={
        <>
          <Icon name="calendar" size={14} />
          <span class="sr">Time range: </span>
          <b class={css.rangeText}>{label}</b>
          {zone() === 'utc' && <span class="faint">UTC</span>}
          <Icon name="chevron-down" size={12} />
        </>
      }
    >
      {(close) => <RangeForm close={close} />}
    </Popover>
  );
}

function RangeForm({ close }: { readonly close: () => void }) {
  const now = range.value;
  const journey = location.value.place === 'journey';
  const [from, setFrom] = useState(now.from);
  const [to, setTo] = useState(now.to);
  const order = isBound(from) && isBound(to) && boundMs(from, Date.now()) >= boundMs(to, Date.now()) && from !== '';
  const wrong =
    !isBound(from) || !isBound(to) ? 'Write -2h, or 2026-11-21T09:00:00Z.' : order ? 'The start is after the end.' : '';
  return (
    <div class={css.range}>
      <ul class={css.presets}>
        {journey && (
          <li>
            <button
              type="button"
              aria-pressed={now.from === '' && now.to === ''}
              onClick={() => (setParams({ from: undefined, to: undefined }), close())}
            >
              All time
            </button>
          </li>
        )}
        {PRESETS.map((p) => (
          <li key={p.from}>
            <button
              type="button"
              aria-pressed={now.from === p.from && now.to === ''}
              onClick={() => (setParams({ from: p.from, to: undefined }), close())}
            >
              {p.label}
            </button>
          </li>
        ))}
      </ul>
      <form
        class={css.form}
        onSubmit={(event) => {
          event.preventDefault();
          if (wrong !== '') return;
          setParams({ from: from.trim(), to: to.trim() });
          close();
        }}
      >
        <label class="small dim" for="range-from">
          From
        </label>
        <input
          id="range-from"
          class={css.input}
          value={from}
          onInput={(e) => setFrom(e.currentTarget.value)}
          aria-invalid={wrong !== ''}
          aria-describedby="range-wrong"
        />
        <label class="small dim" for="range-to">
          To
        </label>
        <input
          id="range-to"
          class={css.input}
          value={to}
          placeholder="now"
          onInput={(e) => setTo(e.currentTarget.value)}
        />
        <p id="range-wrong" class={css.wrong} role="alert">
          {wrong}
        </p>
        <Button small look="primary" type="submit" disabled={wrong !== ''}>
          Apply
        </Button>
        <Segments
          label="Time zone"
          name="tz"
          choices={[
            { value: 'local', label: 'Local time' },
            { value: 'utc', label: 'UTC' },
          ]}
          value={zone()}
          onChange={(tz) => setParams({ tz: tz === 'utc' ? 'utc' : undefined })}
        />
      </form>
    </div>
  );
}

function Live() {
  const state = liveness.value;
  const stopped = paused();
  const toggle = () => setParams({ live: stopped ? undefined : '0' }, 'replace');
  const places = location.value.place;
  // On Logs the key is the tail's, which says more there.
  useKeys(
    places === 'logs' ? [] : [{ keys: '.', label: 'Pause or resume live updates', group: 'Everywhere', run: toggle }],
  );
  const lag = status.value?.lag_ms ?? 0;
  const [tone, text] = stopped
    ? (['hold', 'Paused'] as const)
    : state === 'live'
      ? (['run', `Live · ${duration(lag)}`] as const)
      : state === 'connecting'
        ? (['mute', 'Connecting'] as const)
        : state === 'reconnecting'
          ? (['warn', 'Reconnecting'] as const)
          : (['bad', `Stale since ${clockShort(lastAnswerAt.value, zone())}`] as const);
  void tick.value;
  return (
    <button
      type="button"
      class={css.live}
      onClick={toggle}
      aria-pressed={stopped}
      title={stopped ? 'Resume live updates' : 'Pause live updates'}
    >
      <Glyph tone={tone} size={11} />
      <span class="num">{text}</span>
    </button>
  );
}

const THEMES: readonly { readonly value: Theme; readonly icon: string; readonly label: string }[] = [
  { value: 'system', icon: 'monitor', label: 'As the system' },
  { value: 'light', icon: 'sun', label: 'Light' },
  { value: 'dark', icon: 'moon', label: 'Dark' },
];
function ThemeSwitch() {
  const at = THEMES.findIndex((t) => t.value === theme.value);
  const now = THEMES[at]!;
  const next = THEMES[(at + 1) % THEMES.length]!;
  return (
    <span class={css.theme}>
      <Button
        small
        look="ghost"
        icon={now.icon}
        aria-label={`Theme: ${now.label}. Change to: ${next.label}`}
        title={`Theme: ${now.label}`}
        onClick={() => (theme.value = next.value)}
      />
    </span>
  );
}
