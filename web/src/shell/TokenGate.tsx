import { setToken } from '../data/api';
import { Button } from '../ui/Button';
import { Icon } from '../ui/Icon';
import css from './TokenGate.module.css';

// Shown when the server refuses to answer without a token. The token names the workspace.
export function TokenGate() {
  return (
    <form
      class={css.gate}
      onSubmit={(event) => {
        event.preventDefault();
        const text = (event.currentTarget.elements.namedItem('token') as HTMLInputElement).value.trim();
        if (text !== '') setToken(text);
      }}
    >
      <Icon name="key-round" size={20} />
      <h1>This server asks for a token</h1>
      <p class="dim">
        It names your workspace. Whoever runs Fettle finds it in the configuration under tokens. It is kept until this
        tab is closed.
      </p>
      <label class="small dim" for="token">
        Token
      </label>
      <input id="token" name="token" type="password" autocomplete="off" />
      <Button look="primary" type="submit">
        Continue
      </Button>
    </form>
  );
}
