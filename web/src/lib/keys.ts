// Keyboard bindings. A binding is active while it is mounted; the one mounted last wins, so that a dialog or a page
// takes a key from the shell. Sequences are two keys within a second (`g e`). Nothing fires while somebody types,
// except `Escape` and combinations with Ctrl or Cmd. Single keys can be switched off as a whole (WCAG 2.1.4).

export interface Binding {
  readonly keys: string; // 'j' · 'g e' · 'mod+k' · 'ArrowDown' · '?'
  readonly label: string; // what the help says; empty keeps it out of the help
  readonly group: string;
  readonly run: (event: KeyboardEvent) => void;
}

const stack: Binding[] = [];
let pending: { readonly key: string; readonly at: number } | undefined;
let enabled = true;
let suspended = 0;

const SEQUENCE_MS = 1000;

export function bind(bindings: readonly Binding[]): () => void {
  stack.push(...bindings);
  return () => {
    for (const binding of bindings) stack.splice(stack.lastIndexOf(binding), 1);
  };
}

// All that is active, latest first, each key once: what `?` lists.
export function active(): readonly Binding[] {
  const seen = new Set<string>();
  return stack
    .toReversed()
    .filter((b) => b.label !== '' && !seen.has(b.keys) && seen.add(b.keys))
    .toReversed();
}

export function conflicts(bindings: readonly Binding[]): readonly string[] {
  const all = bindings.map((b) => b.keys);
  const starts = new Set(all.filter((k) => k.includes(' ')).map((k) => k.split(' ')[0]!));
  return all.filter((k, i) => all.indexOf(k) !== i || starts.has(k));
}

export function setSingleKeys(on: boolean): void {
  enabled = on;
}

// While a modal dialog is open only its own keys count.
export function suspend(): () => void {
  suspended += 1;
  return () => {
    suspended -= 1;
  };
}

function chord(event: KeyboardEvent): string {
  const mod = event.ctrlKey || event.metaKey ? 'mod+' : '';
  return mod + event.key;
}

const OF_RADIOS = new Set(['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', ' ', 'Enter']);

function typing(target: EventTarget | null, key: string): boolean {
  const element = target as Partial<HTMLInputElement> | null;
  const tag = element?.tagName;
  // A choice that was just made keeps the focus; letters are not for it.
  if (tag === 'INPUT' && (element?.type === 'radio' || element?.type === 'checkbox')) return OF_RADIOS.has(key);
  return tag === 'INPUT' || tag === 'TEXTAREA' || tag === 'SELECT' || element?.isContentEditable === true;
}

export function handle(event: KeyboardEvent, now: number): boolean {
  if (event.defaultPrevented || event.altKey || event.isComposing) return false;
  const key = chord(event);
  const always = key.startsWith('mod+') || key === 'Escape';
  if (!always && (!enabled || suspended > 0 || typing(event.target, key))) return false;
  if (suspended > 0 && key !== 'mod+k') return false;
  // Enter and Space belong to a focused button or link.
  const tag = (event.target as Partial<HTMLElement> | null)?.tagName;
  if ((key === 'Enter' || key === ' ') && (tag === 'BUTTON' || tag === 'A' || tag === 'SUMMARY')) return false;
  const sequence = pending && now - pending.at < SEQUENCE_MS ? `${pending.key} ${key}` : '';
  pending = undefined;
  const found = stack.findLast((b) => b.keys === sequence) ?? stack.findLast((b) => b.keys === key);
  if (found) {
    event.preventDefault();
    found.run(event);
    return true;
  }
  if (stack.some((b) => b.keys.startsWith(`${key} `))) pending = { key, at: now };
  return false;
}
