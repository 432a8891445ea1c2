// What stands behind a link that works once: the first owner's account, an invitation, or a new password. The link's
// secret is behind the '#', which browsers do not send.
import { useEffect, useState } from 'preact/hooks';
import { noteSignedIn, postPublic } from '../data/api';
import { go, travel } from '../routes';
import { Button } from '../ui/Button';
import { Empty } from '../ui/States';
import { Field, useSubmit } from './Field';
import css from './Gate.module.css';

interface Link {
  readonly purpose: 'first_owner' | 'invitation' | 'password_reset';
  readonly email: string;
  readonly workspace: string;
  readonly role: string;
}

const PASSWORD_MIN = 12;

export function Welcome() {
  const [link] = useState(() => window.location.hash.slice(1));
  const [found, setFound] = useState<Link | string | undefined>(undefined);
  useEffect(() => {
    postPublic<Link>('/api/v1/links/look', { link }).then(setFound, (error: unknown) =>
      setFound(error instanceof Error ? error.message : String(error)),
    );
  }, [link]);
  const { submit, busy, problem } = useSubmit(async (entered) => {
    const about = found as Link;
    await postPublic('/api/v1/links/redeem', {
      link,
      password: entered('password'),
      ...(about.purpose === 'first_owner' && { email: entered('email') }),
      ...(about.purpose !== 'password_reset' && { name: entered('name') }),
    });
    noteSignedIn();
    go(travel('journey'), 'replace');
  });
  if (found === undefined) return <div class={css.gate} aria-busy="true" />;
  if (typeof found === 'string') {
    return (
      <Empty why="empty" title="This link does not work any more.">
        <p class="dim">{found}</p>
      </Empty>
    );
  }
  const isReset = found.purpose === 'password_reset';
  return (
    <form class={css.gate} onSubmit={submit}>
      <h1>{isReset ? 'A new password' : 'Welcome to Fettle'}</h1>
      <p class="dim">
        {found.purpose === 'first_owner'
          ? 'You will own this server: invite others, give rights, make tokens.'
          : isReset
            ? `For ${found.email}.`
            : `You are invited to ${found.workspace} as ${found.role}, with ${found.email}.`}
      </p>
      {found.purpose === 'first_owner' && <Field name="email" label="E-mail" type="email" autocomplete="username" />}
      {!isReset && <Field name="name" label="Your name" type="text" autocomplete="name" />}
      <Field
        name="password"
        label="Password"
        type="password"
        autocomplete="new-password"
        minLength={PASSWORD_MIN}
        hint={`At least ${PASSWORD_MIN} characters.`}
      />
      <p role="alert" class={css.problem}>
        {problem}
      </p>
      <Button look="primary" type="submit" disabled={busy}>
        {isReset ? 'Set the password' : 'Come in'}
      </Button>
    </form>
  );
}
