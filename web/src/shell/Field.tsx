// One entry of a form with its label above it, and the sending of such a form.
import { useState } from 'preact/hooks';
import css from './Gate.module.css';

interface FieldProps {
  readonly name: string;
  readonly label: string;
  readonly type: 'text' | 'email' | 'password';
  readonly autocomplete: 'username' | 'current-password' | 'new-password' | 'name' | 'off';
  readonly minLength?: number;
  readonly hint?: string;
}

export function Field({ name, label, type, autocomplete, minLength, hint }: FieldProps) {
  return (
    <div class={css.field}>
      <label class="small dim" for={name}>
        {label}
      </label>
      <input
        {...({ type } as { readonly type: 'text' })}
        id={name}
        name={name}
        autocomplete={autocomplete}
        required
        {...(minLength !== undefined && { minLength })}
        {...(hint !== undefined && { 'aria-describedby': `${name}-hint` })}
      />
      {hint !== undefined && (
        <span id={`${name}-hint`} class="small dim">
          {hint}
        </span>
      )}
    </div>
  );
}

// `send` is given what was entered by name; what it throws is shown as a sentence.
export function useSubmit(send: (entered: (name: string) => string) => Promise<void>) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    setBusy(true);
    setProblem('');
    send((name) => String(fields.get(name) ?? ''))
      .catch((error: unknown) => setProblem(error instanceof Error ? error.message : String(error)))
      .finally(() => setBusy(false));
  };
  return { submit, busy, problem };
}
