import { useEffect, useRef } from 'preact/hooks';
import { bind, type Binding } from '../lib/keys';

// Binds while the component is mounted; the handlers seen are always those of the last render.
export function useKeys(bindings: readonly Binding[]): void {
  const latest = useRef(bindings);
  latest.current = bindings;
  const shape = bindings.map((b) => `${b.keys}\n${b.label}\n${b.group}`).join('\t');
  useEffect(
    () => bind(latest.current.map((b, i) => ({ ...b, run: (event) => latest.current[i]!.run(event) }))),
    [shape],
  );
}
