import { location, travel, type Place } from '../routes';
import { Icon, Logo } from '../ui/Icon';
import { Kbd } from '../ui/Button';
import css from './Rail.module.css';

export const PLACES: readonly { readonly place: Place; readonly label: string; readonly icon: string }[] = [
  { place: 'journey', label: 'Journey', icon: 'waypoints' },
  { place: 'traces', label: 'Traces', icon: 'list-tree' },
  { place: 'logs', label: 'Logs', icon: 'scroll-text' },
];

export function Rail() {
  const here = location.value.place;
  return (
    <nav class={css.rail} aria-label="Main">
      <a class={css.brand} href={travel('journey')}>
        <Logo />
        Fettle
      </a>
      <h2 class={css.group}>
        Evidence <Kbd>g e</Kbd>
      </h2>
      <ul>
        {PLACES.map((p) => (
          <li key={p.place}>
            <a href={travel(p.place)} aria-current={p.place === here ? 'page' : undefined}>
              <Icon name={p.icon} />
              <span>{p.label}</span>
            </a>
          </li>
        ))}
      </ul>
      <div class={css.foot}>
        <a href={travel('start')} aria-current={here === 'start' ? 'page' : undefined}>
          <Icon name="arrow-down-to-line" />
          <span>Send telemetry</span>
        </a>
      </div>
    </nav>
  );
}

// The rail of a phone.
export function TabBar() {
  const here = location.value.place;
  return (
    <nav class={css.tabbar} aria-label="Places">
      {PLACES.map((p) => (
        <a key={p.place} href={travel(p.place)} aria-current={p.place === here ? 'page' : undefined}>
          <Icon name={p.icon} size={18} />
          <span>{p.label}</span>
        </a>
      ))}
    </nav>
  );
}
