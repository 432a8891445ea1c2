// Evidence › Journey: one identifier, everything that happened under it.
import { useMemo, useEffect } from 'preact/hooks';
import { Resource } from '../../data/resource';
import { noteRecent } from '../../data/prefs';
import { range } from '../../data/filters';
import { recovered } from '../../data/status';
import { token } from '../../data/api';
import { location, param, setParams, travel } from '../../routes';
import { middle, plural } from '../../lib/fmt';
import { CopyButton } from '../../ui/Copy';
import { Empty, View } from '../../ui/States';
import { overlay } from '../../shell/overlay';
import { Button } from '../../ui/Button';
import { JourneyStart } from './JourneyStart';
import { JourneyView } from './JourneyView';
import { loadJourney, type Journey as Data } from './journey_data';
import css from './Evidence.module.css';

export default function Journey() {
  const id = location.value.id || param('id');
  return id === '' ? <JourneyStart /> : <JourneyOf key={id} id={id} />;
}

function JourneyOf({ id }: { readonly id: string }) {
  const resource = useMemo(() => new Resource<Data>(), []);
  const kind = param('kind');
  const time = range.value;
  const load = () =>
    void resource.load(`${kind}|${time.from}|${time.to}`, (abort) =>
      loadJourney(id, kind, time, abort, (change) => resource.update(change)),
    );
  useEffect(load, [id, kind, time.from, time.to, recovered.value, token.value]);
  useEffect(() => {
    noteRecent(id);
    return () => resource.stop();
  }, []);

  return (
    <div class={css.page}>
      <div class={css.title}>
        <h1>Journey</h1>
        <span class={`mono dim foreign ell ${css.id}`} title={id}>
          {middle(id, 40)}
        </span>
        <CopyButton text={id} what="identifier" />
      </div>
      <View
        of={resource.loaded.value}
        what={`everything about ${middle(id, 24)}`}
        rows={14}
        onCancel={() => resource.cancel()}
        onNarrow={
          time.from === '' ? { label: 'Only the last 24 h', run: () => setParams({ from: '-24h' }) } : undefined
        }
      >
        {(journey) => (journey.tree.count === 0 ? <Nothing journey={journey} /> : <JourneyView journey={journey} />)}
      </View>
    </div>
  );
}

function Nothing({ journey }: { readonly journey: Data }) {
  const time = range.value;
  const elsewhere = journey.kinds.reduce((sum, k) => sum + k.traces + k.logs, 0);
  if (time.from !== '' || time.to !== '') {
    return (
      <Empty
        why="filtered"
        title={
          elsewhere > 0 ? 'Nothing about this identifier in the chosen time.' : 'Nothing about this identifier here.'
        }
      >
        <p class="dim">
          {elsewhere > 0
            ? `Outside of it there are ${plural(elsewhere, 'trace or log', 'traces and logs')}.`
            : 'Looked in the chosen time only.'}
        </p>
        <Button small onClick={() => setParams({ from: undefined, to: undefined })}>
          Look in all time
        </Button>
      </Empty>
    );
  }
  return (
    <Empty
      why="empty"
      title={
        elsewhere > 0
          ? 'This identifier was seen, but nothing under it is stored any more.'
          : 'No trace or log carries this identifier.'
      }
    >
      <p class="dim">
        {elsewhere > 0
          ? 'Its spans were sampled out or are past their retention.'
          : 'Check for a missing character; ids are compared whole. What was sent in the last seconds may still be on its way. '}
      </p>
      <div class="row">
        <Button small icon="search" onClick={() => (overlay.value = 'find')}>
          Find another
        </Button>
        <a class="link small" href={travel('logs', { q: `"${journey.id.replaceAll('"', '')}"`, from: '-24h' })}>
          Search logs for it as text
        </a>
      </div>
    </Empty>
  );
}
