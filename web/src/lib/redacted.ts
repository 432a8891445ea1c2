// Redaction leaves `[redacted:rule]` where something was; shown as ••• with the rule's name.

import { oneLine } from './fmt';

export interface Part {
  readonly text: string;
  readonly rule?: string;
}

export function splitRedacted(text: string): readonly Part[] {
  const out: Part[] = [];
  let at = 0;
  for (const match of text.matchAll(/\[redacted:([\w.-]{1,64})\]/g)) {
    if (match.index > at) out.push({ text: text.slice(at, match.index) });
    out.push({ text: match[0], rule: match[1]! });
    at = match.index + match[0].length;
  }
  if (at < text.length) out.push({ text: text.slice(at) });
  return out;
}

// The same in one line of a list, where there is no room for the rule's name.
export function cell(text: string, max?: number): string {
  return oneLine(text, max).replace(/\[redacted:[\w.-]{1,64}\]/g, '•••');
}
