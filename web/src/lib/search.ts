// Where the words of a log search are in a line, so that they can be marked. The rules are the server's: words stand
// for whole words, "quoted" for a phrase, *starred* for a part of a word; case does not matter.

export interface Piece {
  readonly text: string;
  readonly hit: boolean;
}

export function matcher(q: string): RegExp | undefined {
  const terms: string[] = [];
  const escape = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  for (const match of q.matchAll(/"([^"]+)"|(\S+)/g)) {
    if (match[1] !== undefined) {
      terms.push(`(?<![\\p{L}\\p{N}])${escape(match[1]).replace(/\s+/g, '\\s+')}(?![\\p{L}\\p{N}])`);
      continue;
    }
    const word = match[2]!;
    const part = /^\*(.+)\*$/.exec(word);
    if (part) terms.push(escape(part[1]!));
    else if (/[\p{L}\p{N}]/u.test(word)) terms.push(`(?<![\\p{L}\\p{N}])${escape(word)}(?![\\p{L}\\p{N}])`);
  }
  return terms.length === 0 ? undefined : new RegExp(terms.join('|'), 'giu');
}

export function pieces(text: string, find: RegExp | undefined): readonly Piece[] {
  if (!find) return [{ text, hit: false }];
  const out: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(find)) {
    if (match[0] === '') continue;
    if (match.index > at) out.push({ text: text.slice(at, match.index), hit: false });
    out.push({ text: match[0], hit: true });
    at = match.index + match[0].length;
  }
  if (at < text.length) out.push({ text: text.slice(at), hit: false });
  return out;
}

// What an identifier looks like, for a hint before the server has answered.
export function shapeOf(text: string): string {
  if (/^[0-9a-f]{32}$/i.test(text)) return 'trace id';
  if (/^[0-9a-f]{16}$/i.test(text)) return 'span id';
  if (/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text)) return 'request or correlation id';
  if (/^run[_-]/.test(text)) return 'run';
  if (/^req[_-]/.test(text)) return 'request';
  if (/^job[_-]/.test(text)) return 'job';
  if (/^T-\d+$/.test(text)) return 'ticket';
  return 'identifier';
}
