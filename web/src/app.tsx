// The shell around every page: rail, top bar, status line, and what opens over them.
import { signal } from '@preact/signals';
import type { ComponentType } from 'preact';
import { useEffect, useErrorBoundary } from 'preact/hooks';
import { needsToken } from './data/api';
import { startMe } from './data/me';
import { railOpen } from './data/prefs';
import { startStatus } from './data/status';
import { enterWorkspace, go, location, param, setParams, travel, type Place } from './routes';
import { absolute, rangeLabel } from './lib/time';
import { dayClock } from './lib/fmt';
import { range, zone } from './data/filters';
import { Announcements } from './ui/announce';
import { copyText } from './ui/Copy';
import { Button } from './ui/Button';
import { Logo } from './ui/Icon';
import { Empty } from './ui/States';
import { useKeys } from './ui/useKeys';
import { Help } from './shell/Help';
import { Palette } from './shell/Palette';
import { PLACES, Rail, TabBar } from './shell/Rail';
import { StatusLine } from './shell/StatusLine';
import { Gate } from './shell/Gate';
import { Welcome } from './shell/Welcome';
import { TopBar } from './shell/TopBar';
import { overlay } from './shell/overlay';
import css from './app.module.css';

const PAGES: Readonly<Record<Place, () => Promise<{ default: ComponentType }>>> = {
  journey: () => import('./pages/evidence/Journey'),
  traces: () => import('./pages/evidence/Traces'),
  logs: () => import('./pages/evidence/Logs'),
  start: () => import('./pages/start/FirstRun'),
};
const loadedPages = signal<Partial<Record<Place, ComponentType>>>({});
const pageFailed = signal('');

function Page({ place }: { readonly place: Place }) {
  const Found = loadedPages.value[place];
  useEffect(() => {
    if (Found) return;
    PAGES[place]().then(
      (module) => {
        loadedPages.value = { ...loadedPages.peek(), [place]: module.default };
        return undefined;
      },
      () => {
        pageFailed.value = place;
      },
    );
  }, [place, Found]);
  const [error, reset] = useErrorBoundary();
  if (error || pageFailed.value === place) {
    return (
      <Empty
        why="empty"
        title={
          error ? 'This page broke. That is our mistake; your data is not affected.' : 'This page could not be loaded.'
        }
      >
        {error && <p class="mono faint">{String(error)}</p>}
        <Button
          small
          onClick={() => {
            pageFailed.value = '';
            reset();
          }}
        >
          Try again
        </Button>
      </Empty>
    );
  }
  return Found ? <Found /> : <div class={css.waiting} aria-busy="true" />;
}

// The same view with its times pinned, so that it shows tomorrow what it shows now.
function copyLink(): void {
  const now = Date.now();
  const pinned = absolute(range.peek(), now);
  const url = new URL(window.location.href);
  if (
    pinned.from !== '' ||
    range.peek().to !== '' ||
    location.peek().place === 'logs' ||
    location.peek().place === 'traces'
  ) {
    if (pinned.from !== '') url.searchParams.set('from', pinned.from);
    url.searchParams.set('to', pinned.to);
  }
  void copyText(url.href, 'Link with fixed times');
}

const TITLES: Readonly<Record<Place, string>> = {
  journey: 'Journey',
  traces: 'Traces',
  logs: 'Logs',
  start: 'First run',
};

export function App() {
  const { place, workspace, id } = location.value;
  useEffect(startStatus, []);
  useEffect(() => startMe((me) => enterWorkspace(me.workspace)), []);
  useEffect(() => {
    if (place === 'home') go(travel('journey'), 'replace');
  }, [place]);
  const subject = id || param('id');
  const time = range.value;
  useEffect(() => {
    const title = place === 'welcome' ? 'Welcome' : place === 'unknown' || place === 'home' ? '' : TITLES[place];
    const what = subject !== '' && place === 'journey' ? `${subject.slice(0, 40)} · ` : '';
    const when = place === 'logs' || place === 'traces' ? `${rangeLabel(time, (ms) => dayClock(ms, zone()))} · ` : '';
    document.title = `${title === '' ? '' : `${what}${title} · ${when}`}${workspace} · Fettle`;
  }, [place, subject, time, workspace]);

  // Before anybody is known there is nothing to frame: no places, no filters, no ingest.
  const outside = place === 'welcome' ? <Welcome /> : needsToken.value ? <Gate /> : undefined;
  const keys: Parameters<typeof useKeys>[0] = [
    { keys: '?', label: 'This list of keys', group: 'Everywhere', run: () => (overlay.value = 'help') },
    { keys: 'mod+k', label: 'Command palette', group: 'Everywhere', run: () => (overlay.value = 'commands') },
    { keys: '/', label: 'Find by any identifier', group: 'Everywhere', run: () => (overlay.value = 'find') },
    { keys: 'g e', label: 'Evidence', group: 'Go to', run: () => go(travel('journey')) },
    ...(['[', ']'] as const).map((keys, i) => ({
      keys,
      label: i === 0 ? 'Previous tab' : 'Next tab',
      group: 'Go to',
      run: () => {
        const at = PLACES.findIndex((p) => p.place === place);
        if (at >= 0) go(travel(PLACES[(at + (i === 0 ? PLACES.length - 1 : 1)) % PLACES.length]!.place));
      },
    })),
    { keys: 'y', label: 'Copy a link with fixed times', group: 'Everywhere', run: copyLink },
    { keys: '\\', label: 'Show or hide the rail', group: 'Everywhere', run: () => (railOpen.value = !railOpen.peek()) },
    {
      keys: 'Escape',
      label: 'Back one level; clear the last filter',
      group: 'Everywhere',
      run: () => {
        const last = location
          .peek()
          .query.findLast(([key]) => !['from', 'to', 'tz', 'live', 'id', 'sel', 'only', 'fold', 'kind'].includes(key));
        if (last) setParams({ [last[0]]: undefined });
        else (document.activeElement as HTMLElement | null)?.blur();
      },
    },
  ];
  useKeys(outside ? [] : keys);

  if (outside || place === 'welcome') {
    return (
      <>
        <main class={css.outside}>
          <p class={css.brand}>
            <Logo />
            Fettle
          </p>
          {outside}
        </main>
        <Announcements />
      </>
    );
  }
  return (
    <>
      <a
        class={css.skip}
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById('main')?.focus();
        }}
      >
        Skip to the page
      </a>
      <div class={`${css.app} ${railOpen.value ? '' : css.narrow}`}>
        <Rail />
        <div class={css.column}>
          <TopBar />
          <main id="main" class={css.main} tabIndex={-1}>
            {place === 'unknown' ? (
              <Empty why="empty" title="There is no page at this address.">
                <p>
                  <a class="link" href={travel('journey')}>
                    Go to Evidence
                  </a>
                </p>
              </Empty>
            ) : (
              place !== 'home' && <Page key={place} place={place} />
            )}
          </main>
          <StatusLine />
        </div>
        <TabBar />
      </div>
      {overlay.value === 'help' && <Help />}
      {(overlay.value === 'commands' || overlay.value === 'find') && <Palette mode={overlay.value} />}
      <Announcements />
    </>
  );
}
