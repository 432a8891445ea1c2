// The states a widget can be in besides having something to show. Each has one look everywhere.
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Loaded } from '../data/resource';
import type { Problem } from '../data/api';
import { Button } from './Button';
import { Glyph } from './Status';
import css from './States.module.css';

const SKELETON_AFTER_MS = 150;
const SLOW_AFTER_MS = 3000;

// Takes a Loaded apart. `stale` keeps the value in sight below a line that says so.
export function View<T>(props: {
  readonly of: Loaded<T>;
  readonly what: string; // "the logs of this hour": what is looked for
  readonly rows?: number; // height of the skeleton
  readonly onCancel?: () => void;
  readonly onNarrow?: { readonly label: string; readonly run: () => void } | undefined;
  readonly children: (value: T, asOf: number) => ComponentChildren;
}) {
  const { of } = props;
  switch (of.state) {
    case 'idle':
      return null;
    case 'loading':
      return (
        <Loading
          since={of.since}
          what={props.what}
          rows={props.rows ?? 8}
          onCancel={props.onCancel}
          onNarrow={props.onNarrow}
        />
      );
    case 'cancelled':
      return (
        <Empty why="empty" title="Cancelled.">
          <Button small onClick={of.retry}>
            Look again
          </Button>
        </Empty>
      );
    case 'failed':
      return <Failed problem={of.problem} retry={of.retry} />;
    case 'stale':
      return (
        <div class={css.keep}>
          <StaleLine problem={of.problem} asOf={of.asOf} retry={of.retry} />
          <div class={css.old}>{props.children(of.value, of.asOf)}</div>
        </div>
      );
    case 'ready':
      return <>{props.children(of.value, of.asOf)}</>;
  }
}

function Loading(props: {
  readonly since: number;
  readonly what: string;
  readonly rows: number;
  readonly onCancel?: (() => void) | undefined;
  readonly onNarrow?: { readonly label: string; readonly run: () => void } | undefined;
}) {
  const [shown, setShown] = useState<'nothing' | 'skeleton' | 'slow'>('nothing');
  useEffect(() => {
    const waited = Date.now() - props.since;
    const a = setTimeout(() => setShown('skeleton'), Math.max(0, SKELETON_AFTER_MS - waited));
    const b = setTimeout(() => setShown('slow'), Math.max(0, SLOW_AFTER_MS - waited));
    return () => {
      clearTimeout(a);
      clearTimeout(b);
    };
  }, [props.since]);
  return (
    <div class={css.loading} aria-busy="true" data-state={shown === 'slow' ? 'slow' : 'loading'}>
      <span class="sr" role="status">
        {shown === 'slow' ? `Still looking for ${props.what}` : `Loading ${props.what}`}
      </span>
      {shown === 'slow' && (
        <div class={css.slow}>
          <span>Still looking for {props.what}.</span>
          {props.onNarrow && (
            <Button small onClick={props.onNarrow.run}>
              {props.onNarrow.label}
            </Button>
          )}
          {props.onCancel && (
            <Button small look="ghost" onClick={props.onCancel}>
              Cancel
            </Button>
          )}
        </div>
      )}
      {shown !== 'nothing' &&
        Array.from({ length: props.rows }, (_, i) => (
          <div key={i} class={css.bone} style={{ width: `${92 - ((i * 37) % 45)}%` }} />
        ))}
    </div>
  );
}

const HINTS: Readonly<Record<Problem['kind'], string>> = {
  network: 'Nothing is lost: senders keep their data until the server is back.',
  unauthorized: 'This server asks for a token.',
  forbidden: 'Your token does not allow this. Ask whoever runs Fettle.',
  missing: '',
  refused: 'The question was not understood, and asking again will not help. Change a filter.',
  busy: 'The server is busy. It will answer in a moment.',
  server: 'What is stored is safe. Try again; if it stays, look at the server’s log for the request.',
};

export function Failed({ problem, retry }: { readonly problem: Problem; readonly retry: () => void }) {
  const forbidden = problem.kind === 'forbidden';
  return (
    <div class={css.box} role="alert" data-state={forbidden ? 'forbidden' : 'failed'}>
      <Glyph tone={forbidden ? 'mute' : 'bad'} size={20} />
      <p class={css.title}>{problem.message}</p>
      <p class="dim small">{HINTS[problem.kind]}</p>
      {problem.requestId !== '' && (
        <p class="faint small">
          Request <span class="mono">{problem.requestId}</span>
        </p>
      )}
      {!forbidden && (
        <Button small icon="rotate-cw" onClick={retry}>
          Try again
        </Button>
      )}
    </div>
  );
}

function StaleLine({
  problem,
  asOf,
  retry,
}: {
  readonly problem: Problem;
  readonly asOf: number;
  readonly retry: () => void;
}) {
  return (
    <Note tone="warn" state="stale" action={{ label: 'Try again', run: retry }}>
      As of {new Date(asOf).toLocaleTimeString(undefined, { hourCycle: 'h23' })}. {problem.message}
      {problem.requestId !== '' && <span class="mono"> {problem.requestId}</span>}
    </Note>
  );
}

// One line above what it speaks of.
export function Note(props: {
  readonly tone: 'warn' | 'run' | 'mute' | 'bad';
  readonly state: string;
  readonly action?: { readonly label: string; readonly run: () => void } | undefined;
  readonly children: ComponentChildren;
}) {
  return (
    <div class={`${css.note} ${css[props.tone]}`} role="status" data-state={props.state}>
      <Glyph tone={props.tone} />
      <span class={css.text}>{props.children}</span>
      {props.action && (
        <button type="button" class={css.act} onClick={props.action.run}>
          {props.action.label}
        </button>
      )}
    </div>
  );
}

// Nothing to show, and why. `no-data` must never look like `empty`: the one is missing telemetry, the other an answer.
export function Empty(props: {
  readonly why: 'empty' | 'filtered' | 'no-data';
  readonly title: string;
  readonly children?: ComponentChildren;
}) {
  return (
    <div class={css.box} data-state={props.why}>
      {props.why === 'no-data' && <Glyph tone="mute" size={20} />}
      <p class={css.title}>{props.title}</p>
      {props.children}
    </div>
  );
}
