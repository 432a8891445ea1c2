import type { ComponentChildren } from 'preact';
import css from './Status.module.css';

// A state is always a shape, a word and a colour together.
export type Tone = 'ok' | 'warn' | 'bad' | 'run' | 'hold' | 'mute';

export function Glyph({ tone, size = 13 }: { readonly tone: Tone; readonly size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 13 13" aria-hidden="true">
      {SHAPES[tone]}
    </svg>
  );
}

const STROKE = {
  stroke: 'var(--glyph)',
  'stroke-width': 1.5,
  'stroke-linecap': 'round',
  'stroke-linejoin': 'round',
  fill: 'none',
} as const;
const SHAPES: Readonly<Record<Tone, ComponentChildren>> = {
  ok: (
    <>
      <circle cx="6.5" cy="6.5" r="6" fill="var(--ok-fill)" />
      <path d="M3.8 6.7l1.9 1.9 3.5-3.9" {...STROKE} />
    </>
  ),
  warn: (
    <>
      <path d="M6.5.9 12.7 12H.3z" fill="var(--warn-fill)" stroke-linejoin="round" />
      <path d="M6.5 4.4v3.3" {...STROKE} />
      <circle cx="6.5" cy="10" r=".9" fill="var(--glyph)" />
    </>
  ),
  bad: (
    <>
      <path d="M4 .5h5L12.5 4v5L9 12.5H4L.5 9V4z" fill="var(--bad-fill)" />
      <path d="M4.4 4.4l4.2 4.2M8.6 4.4L4.4 8.6" {...STROKE} />
    </>
  ),
  run: (
    <>
      <circle cx="6.5" cy="6.5" r="5.3" fill="none" stroke="var(--run-fill)" stroke-width="1.4" />
      <path d="M6.5 2.6a3.9 3.9 0 0 1 0 7.8z" fill="var(--run-fill)" />
    </>
  ),
  hold: (
    <>
      <rect x=".8" y=".8" width="11.4" height="11.4" rx="2.4" fill="var(--hold-fill)" />
      <path d="M4.9 4v5M8.1 4v5" {...STROKE} />
    </>
  ),
  mute: (
    <circle
      cx="6.5"
      cy="6.5"
      r="5.2"
      fill="none"
      stroke="var(--mute-fill)"
      stroke-width="1.4"
      stroke-dasharray="2.2 1.9"
    />
  ),
};

export function Status({ tone, children }: { readonly tone: Tone; readonly children: ComponentChildren }) {
  return (
    <span class={`${css.status} ${css[tone]}`}>
      <Glyph tone={tone} />
      {children}
    </span>
  );
}

export function Chip({
  tone,
  glyph = true,
  children,
}: {
  readonly tone: Tone;
  readonly glyph?: boolean;
  readonly children: ComponentChildren;
}) {
  return (
    <span class={`${css.chip} ${css[`${tone}Bg`]} ${css[tone]}`}>
      {glyph && <Glyph tone={tone} size={12} />}
      {children}
    </span>
  );
}

export function Tag({ children }: { readonly children: ComponentChildren }) {
  return <span class={css.tag}>{children}</span>;
}
