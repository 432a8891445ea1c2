import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { get, type KindSummary } from '../data/api';
import { noteRecent, railOpen, recent, theme } from '../data/prefs';
import { age, count, plural } from '../lib/fmt';
import { shapeOf } from '../lib/search';
import { ms } from '../lib/time';
import { go, setParams, travel } from '../routes';
import { tick } from '../data/status';
import { Dialog } from '../ui/Dialog';
import { Icon } from '../ui/Icon';
import { PLACES } from './Rail';
import { paused } from '../data/filters';
import { closeOverlay, overlay } from './overlay';
import css from './Palette.module.css';

interface Entry {
  readonly id: string;
  readonly icon: string;
  readonly title: string;
  readonly note: string;
  readonly run: () => void;
}

const ASK_AFTER_MS = 180;

// Ctrl K and `/`: any identifier first, with what kinds it is known as and how often, before going anywhere; then
// places and actions.
export function Palette({ mode }: { readonly mode: 'commands' | 'find' }) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const [kinds, setKinds] = useState<
    { readonly id: string; readonly kinds: readonly KindSummary[] | 'failed' } | undefined
  >();
  const list = useRef<HTMLUListElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const id = text.trim();

  useEffect(() => {
    if (id.length < 2) return undefined;
    const abort = new AbortController();
    const timer = setTimeout(() => {
      get('/api/v1/resolve', {}, { id }, abort.signal).then(
        (answer) => setKinds({ id, kinds: answer.kinds }),
        () => abort.signal.aborted || setKinds({ id, kinds: 'failed' }),
      );
    }, ASK_AFTER_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [id]);
  useEffect(() => input.current?.focus(), []);

  const open = (value: string, kind?: string) => {
    noteRecent(value);
    go(travel('journey', { id: value, kind }));
  };
  const entries = useMemo<readonly Entry[]>(() => {
    const out: Entry[] = [];
    const found = kinds?.id === id && kinds.kinds !== 'failed' ? kinds.kinds : undefined;
    if (id !== '') {
      for (const k of found ?? []) {
        const several = found!.length > 1;
        out.push({
          id: `kind:${k.kind}`,
          icon: 'waypoints',
          title: `${k.kind} ${id}`,
          note: `${plural(k.traces, 'trace')} · ${plural(k.logs, 'log')} · ${plural(k.events, 'event')} · last ${age(Math.max(0, tick.peek() - ms(k.last_ts)))} ago`,
          run: () => open(id, several ? k.kind : undefined),
        });
      }
      if ((found?.length ?? 0) === 0) {
        const asked = kinds?.id === id;
        out.push({
          id: 'open',
          icon: 'waypoints',
          title: `Journey of ${id}`,
          note: !asked
            ? `looking, shaped like a ${shapeOf(id)}`
            : kinds.kinds === 'failed'
              ? 'the server does not answer'
              : 'not known by this workspace',
          run: () => open(id),
        });
      }
      out.push({
        id: 'logs',
        icon: 'scroll-text',
        title: `Logs that contain “${id}”`,
        note: 'last 24 h',
        run: () => go(travel('logs', { q: id, from: '-24h' })),
      });
    } else {
      for (const value of recent.value)
        out.push({
          id: `recent:${value}`,
          icon: 'rotate-cw',
          title: value,
          note: 'looked up before',
          run: () => open(value),
        });
    }
    const words = id.toLowerCase();
    const actions: Entry[] = [
      ...PLACES.map((p) => ({
        id: p.place,
        icon: p.icon,
        title: `Go to ${p.label}`,
        note: '',
        run: () => go(travel(p.place)),
      })),
      {
        id: 'start',
        icon: 'arrow-down-to-line',
        title: 'Go to Send telemetry',
        note: '',
        run: () => go(travel('start')),
      },
      { id: 'dark', icon: 'moon', title: 'Theme: dark', note: '', run: () => (theme.value = 'dark') },
      { id: 'light', icon: 'sun', title: 'Theme: light', note: '', run: () => (theme.value = 'light') },
      { id: 'system', icon: 'monitor', title: 'Theme: as the system', note: '', run: () => (theme.value = 'system') },
      paused()
        ? {
            id: 'live',
            icon: 'circle-play',
            title: 'Resume live updates',
            note: '.',
            run: () => setParams({ live: undefined }, 'replace'),
          }
        : {
            id: 'live',
            icon: 'circle-pause',
            title: 'Pause live updates',
            note: '.',
            run: () => setParams({ live: '0' }, 'replace'),
          },
      {
        id: 'rail',
        icon: 'panel-left',
        title: 'Show or hide the rail',
        note: '\\',
        run: () => (railOpen.value = !railOpen.peek()),
      },
    ];
    if (mode === 'commands' || id !== '')
      out.push(...actions.filter((a) => words === '' || a.title.toLowerCase().includes(words)));
    return out;
  }, [id, kinds, mode, recent.value]);

  const chosen = Math.min(at, entries.length - 1);
  const run = (entry: Entry | undefined) => {
    if (!entry) return;
    closeOverlay();
    entry.run();
  };
  useEffect(() => {
    list.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' });
  }, [chosen]);

  return (
    <Dialog label={mode === 'find' ? 'Find by any identifier' : 'Command palette'} look="top" onClose={closeOverlay}>
      <div class={css.field}>
        <Icon name={mode === 'find' ? 'search' : 'command'} />
        <input
          ref={input}
          class={css.input}
          value={text}
          placeholder={
            mode === 'find'
              ? 'Paste a trace, request, run, job or ticket id…'
              : 'Type a command, or paste any identifier…'
          }
          role="combobox"
          aria-expanded="true"
          aria-controls="palette-list"
          aria-activedescendant={entries[chosen] ? `palette-${chosen}` : undefined}
          aria-label={mode === 'find' ? 'Identifier' : 'Command or identifier'}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setAt(0);
          }}
          onKeyDown={(event) => {
            if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
              event.preventDefault();
              setAt((chosen + (event.key === 'ArrowDown' ? 1 : entries.length - 1)) % Math.max(1, entries.length));
            } else if (event.key === 'Enter' && !event.isComposing) {
              event.preventDefault();
              run(entries[chosen]);
            } else if ((event.ctrlKey || event.metaKey) && event.key === 'k') {
              event.preventDefault();
              if (mode === 'commands') closeOverlay();
              else overlay.value = 'commands';
            }
          }}
        />
      </div>
      <ul class={css.list} id="palette-list" ref={list} role="listbox" aria-label="Results">
        {entries.map((entry, i) => (
          // oxlint-disable-next-line jsx-a11y/click-events-have-key-events
          <li
            key={entry.id}
            id={`palette-${i}`}
            role="option"
            aria-selected={i === chosen}
            onPointerMove={() => setAt(i)}
            onClick={() => run(entry)}
          >
            <Icon name={entry.icon} size={14} />
            <span class={`ell ${css.title}`}>{entry.title}</span>
            <span class={`faint small num ${css.note}`}>{entry.note}</span>
          </li>
        ))}
      </ul>
      {entries.length === 0 && (
        <p class={css.none}>
          Any identifier works: trace, span, request, correlation, run, job, episode, client, ticket.
        </p>
      )}
      <p class="sr" role="status">
        {plural(entries.length, 'result')}{' '}
        {id !== '' && kinds?.id === id && kinds.kinds !== 'failed'
          ? `; known as ${count(kinds.kinds.length)} kinds`
          : ''}
      </p>
    </Dialog>
  );
}
