import { useState } from 'preact/hooks';
import { noteSignedIn, postPublic, setToken } from '../data/api';
import { Button } from '../ui/Button';
import { Field, useSubmit } from './Field';
import css from './Gate.module.css';

// Shown when the server refuses to answer a stranger: people sign in, and whoever has a token may use that.
export function Gate() {
  const [byToken, setByToken] = useState(false);
  return byToken ? <TokenForm other={() => setByToken(false)} /> : <SignInForm other={() => setByToken(true)} />;
}

function SignInForm({ other }: { readonly other: () => void }) {
  const { submit, busy, problem } = useSubmit(async (entered) => {
    await postPublic('/api/v1/session', { email: entered('email'), password: entered('password') });
    noteSignedIn();
  });
  return (
    <form class={css.gate} onSubmit={submit}>
      <h1>Sign in</h1>
      <Field name="email" label="E-mail" type="email" autocomplete="username" />
      <Field name="password" label="Password" type="password" autocomplete="current-password" />
      <p role="alert" class={css.problem}>
        {problem}
      </p>
      <div class={css.row}>
        <Button look="primary" type="submit" disabled={busy}>
          Sign in
        </Button>
        <Button onClick={other}>Use a token</Button>
      </div>
    </form>
  );
}

function TokenForm({ other }: { readonly other: () => void }) {
  const { submit } = useSubmit(async (entered) => setToken(entered('token').trim()));
  return (
    <form class={css.gate} onSubmit={submit}>
      <h1>Use a token</h1>
      <p class="dim">It names your workspace and is kept until this tab is closed.</p>
      <Field name="token" label="Token" type="password" autocomplete="off" />
      <div class={css.row}>
        <Button look="primary" type="submit">
          Continue
        </Button>
        <Button onClick={other}>Sign in instead</Button>
      </div>
    </form>
  );
}
