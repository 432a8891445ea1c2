// Severity of a log line, in words and in the three tones that are told apart on a page.

export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'unset';
export const LEVELS: readonly Level[] = ['unset', 'trace', 'debug', 'info', 'warn', 'error', 'fatal'];

export function isLevel(text: string): text is Level {
  return (LEVELS as readonly string[]).includes(text);
}

export function isError(level: string): boolean {
  return level === 'error' || level === 'fatal';
}

export function levelTone(level: string): 'bad' | 'warn' | 'none' {
  if (isError(level)) return 'bad';
  return level === 'warn' ? 'warn' : 'none';
}

export function levelWord(level: string): string {
  if (level === 'warn') return 'warning';
  return level === 'unset' ? '—' : level;
}
