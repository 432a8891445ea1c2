// Server-sent events from a stream of text. EventSource cannot carry an Authorization header, so the stream is read
// with fetch and taken apart here.

export interface SseEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string;
}

export class SseParser {
  // The last id seen: what to send as Last-Event-ID when the connection has to be made again.
  lastId = '';

  private rest = '';
  private event = '';
  private data: string[] = [];

  push(chunk: string): SseEvent[] {
    const out: SseEvent[] = [];
    const text = this.rest + chunk;
    let start = 0;
    for (;;) {
      const end = text.indexOf('\n', start);
      if (end < 0) break;
      const line = text.slice(start, text[end - 1] === '\r' && end > start ? end - 1 : end);
      start = end + 1;
      if (line === '') {
        if (this.data.length > 0)
          out.push({ event: this.event || 'message', data: this.data.join('\n'), id: this.lastId });
        this.event = '';
        this.data = [];
        continue;
      }
      if (line.startsWith(':')) continue;
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
      if (field === 'event') this.event = value;
      else if (field === 'data') this.data.push(value);
      else if (field === 'id') this.lastId = value;
    }
    this.rest = text.slice(start);
    return out;
  }
}
