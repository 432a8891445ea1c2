import { useState } from 'preact/hooks';
import { Button } from './Button';
import { say } from './announce';

export async function copyText(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied`);
  } catch {
    say(`The browser does not allow copying; ${what.toLowerCase()} was not copied`);
  }
}

export function CopyButton({
  text,
  what,
  label,
}: {
  readonly text: string;
  readonly what: string;
  readonly label?: string;
}) {
  const [done, setDone] = useState(false);
  return (
    <Button
      small
      look="ghost"
      icon={done ? 'check' : 'copy'}
      aria-label={`Copy ${what}`}
      title={`Copy ${what}`}
      onClick={() => {
        void copyText(text, what);
        setDone(true);
        setTimeout(() => setDone(false), 1500);
      }}
    >
      {label}
    </Button>
  );
}
