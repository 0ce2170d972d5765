/** The door of a server that asks for a key. */
import { useEffect, useRef, useState } from "preact/hooks";
import { signIn, signOut } from "../access";
import { recorder } from "../record/recorder";
import { Leave, Mark } from "./icons";
import { complain } from "./toast";

export function SignIn() {
  const field = useRef<HTMLInputElement>(null);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => field.current?.focus(), []);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    const refusal = await signIn(field.current?.value ?? "");
    setBusy(false);
    setProblem(refusal ?? "");
    if (refusal) field.current?.select();
  };
  return (
    <form class="signin" onSubmit={submit}>
      <Mark />
      <h1>Sign in</h1>
      <p>This server asks for a key. Whoever runs it has it: it is one of its <code>api_keys</code>.</p>
      <label class="field">
        <span>Key</span>
        <input
          ref={field}
          type="password"
          required
          autocomplete="current-password"
          spellcheck={false}
          aria-invalid={problem !== ""}
          aria-describedby="signin-problem"
        />
      </label>
      <p class="problem" id="signin-problem" role="alert">{problem}</p>
      <button type="submit" class="button primary large" disabled={busy}>Sign in</button>
      <small>You stay signed in on this browser for 12 hours after the page was last open, or until you sign out.</small>
    </form>
  );
}

export function SignOut() {
  const leave = () => {
    if (recorder.busy) complain("Stop the recording first: what is still on its way needs you signed in.");
    else signOut().catch(complain);
  };
  return (
    <button type="button" class="button icon-only quiet" aria-label="Sign out" title="Sign out" onClick={leave}>
      <Leave />
    </button>
  );
}
