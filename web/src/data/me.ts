// Who we are to the server. Asked once, and again with every other token or person.
import { effect } from '@preact/signals';
import { get, signedIn, token, Problem, type Answer } from './api';

export type Me = Answer<'/api/v1/me'>;

const RETRY_MS = 2000;

// Calls `known` with what each token turns out to be. A server that does not answer is asked again; one that refuses the
// token is not, until there is another.
export function startMe(known: (me: Me) => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let abort = new AbortController();
  const ask = async () => {
    const own = abort;
    try {
      known(await get('/api/v1/me', {}, {}, own.signal));
    } catch (error) {
      if (own.signal.aborted || (error instanceof Problem && error.kind === 'unauthorized')) return;
      timer = setTimeout(ask, RETRY_MS);
    }
  };
  const stop = () => {
    clearTimeout(timer);
    abort.abort();
  };
  const dispose = effect(() => {
    void token.value;
    void signedIn.value;
    stop();
    abort = new AbortController();
    void ask();
  });
  return () => {
    dispose();
    stop();
  };
}
