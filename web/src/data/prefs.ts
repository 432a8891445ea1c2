// What one person prefers on one browser: theme, keys, time zone, and the identifiers last looked up.
import { signal, effect, type Signal } from '@preact/signals';
import { setSingleKeys } from '../lib/keys';

function remembered<T>(key: string, fallback: T, valid: (value: unknown) => value is T): Signal<T> {
  let first = fallback;
  try {
    const raw = localStorage.getItem(key);
    if (raw !== null) {
      const value: unknown = key === 'fettle.theme' ? raw : JSON.parse(raw);
      if (valid(value)) first = value;
    }
  } catch {
    // Unreadable or forbidden: the fallback.
  }
  const kept = signal(first);
  effect(() => {
    const value = kept.value;
    try {
      // The theme is read by the script in index.html, as a bare word.
      localStorage.setItem(key, key === 'fettle.theme' ? String(value) : JSON.stringify(value));
    } catch {
      // Forbidden: it lasts as long as the page.
    }
  });
  return kept;
}

export type Theme = 'system' | 'light' | 'dark';
export const theme = remembered<Theme>(
  'fettle.theme',
  'system',
  (v): v is Theme => v === 'system' || v === 'light' || v === 'dark',
);
export const singleKeys = remembered<boolean>('fettle.keys', true, (v): v is boolean => typeof v === 'boolean');
export const railOpen = remembered<boolean>('fettle.rail', true, (v): v is boolean => typeof v === 'boolean');
export const recent = remembered<readonly string[]>(
  'fettle.recent',
  [],
  (v): v is readonly string[] => Array.isArray(v) && v.every((x) => typeof x === 'string'),
);
export function noteRecent(id: string): void {
  recent.value = [id, ...recent.peek().filter((x) => x !== id)].slice(0, 8);
}

export const shownTheme = signal<'light' | 'dark'>('light');
export function startPrefs(): void {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const systemDark = signal(system.matches);
  system.addEventListener('change', (event) => {
    systemDark.value = event.matches;
  });
  effect(() => {
    const dark = theme.value === 'dark' || (theme.value === 'system' && systemDark.value);
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    shownTheme.value = dark ? 'dark' : 'light';
  });
  effect(() => setSingleKeys(singleKeys.value));
}
