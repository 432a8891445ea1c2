import { signal } from '@preact/signals';
import css from './announce.module.css';

// Short sentences about what just happened: read out politely and shown for a few seconds.
const message = signal('');
let timer: ReturnType<typeof setTimeout> | undefined;

export function say(text: string): void {
  message.value = text;
  clearTimeout(timer);
  timer = setTimeout(() => {
    message.value = '';
  }, 4000);
}

export function Announcements() {
  return (
    <div role="status" aria-live="polite" class={message.value === '' ? 'sr' : css.toast}>
      {message.value}
    </div>
  );
}
