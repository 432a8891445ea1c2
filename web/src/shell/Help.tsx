import { useState } from 'preact/hooks';
import { prefix } from '../data/api';
import { active } from '../lib/keys';
import { singleKeys } from '../data/prefs';
import { Button } from '../ui/Button';
import { Dialog } from '../ui/Dialog';
import { closeOverlay } from './overlay';
import css from './Help.module.css';

const SHOWN: Readonly<Record<string, string>> = {
  'mod+k': 'Ctrl K',
  ArrowDown: '↓',
  ArrowUp: '↑',
  ArrowLeft: '←',
  ArrowRight: '→',
  Escape: 'Esc',
  ' ': 'Space',
};

export function Help() {
  const [bindings] = useState(active);
  const groups = [...new Set(bindings.map((b) => b.group))];
  return (
    <Dialog label="Keys" onClose={closeOverlay}>
      <header class={css.head}>
        <h2>Keys</h2>
        <span class="sp" />
        <Button small look="ghost" icon="x" aria-label="Close" onClick={closeOverlay} />
      </header>
      <div class={css.body} tabIndex={0} role="region" aria-label="List of keys">
        {groups.map((group) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {bindings
                .filter((b) => b.group === group)
                .map((b) => (
                  <div key={b.keys}>
                    <dt>{b.label}</dt>
                    <dd>
                      {(SHOWN[b.keys] ?? b.keys).split(' ').map((k) => (
                        <kbd key={k}>{SHOWN[k] ?? k}</kbd>
                      ))}
                    </dd>
                  </div>
                ))}
            </dl>
          </section>
        ))}
      </div>
      <div class={css.foot}>
        <label>
          <input
            type="checkbox"
            checked={singleKeys.value}
            onChange={(e) => (singleKeys.value = e.currentTarget.checked)}
          />
          Single keys work (switch off when a voice or switch control sends letters)
        </label>
        <span class="sp" />
        <a class="link" href={`${prefix()}/notices.txt`} target="_blank" rel="noreferrer">
          Licences
        </a>
      </div>
    </Dialog>
  );
}
