/**
 * Whether the server lets this page in. Where it asks for a key, the key is exchanged for a cookie that no script can
 * read, since a browser sends nothing else along with sound, events and WebSockets; it is kept nowhere here.
 */
import { Store } from "./store";

const PLACE = "/api/v1/sign-in";
/** Milliseconds between two renewals of the cookie, which is good for hours. */
const RENEW = 30 * 60_000;

export interface Access {
  /** Nothing can be had before somebody signs in. */
  out: boolean;
  /** There is something to sign out of. */
  keyNeeded: boolean;
}

export const access = new Store<Access>({ out: false, keyNeeded: false });

/** A request was answered with 401. */
export function shutOut(): void {
  access.set({ out: true, keyNeeded: true });
}

/** Asks whether a key is needed, and renews the cookie where it is. */
export async function look(): Promise<void> {
  const answer = await fetch(PLACE).catch(() => undefined);
  if (answer?.status === 401) return shutOut();
  if (!answer?.ok) return;
  const { key_needed: keyNeeded } = (await answer.json()) as { key_needed: boolean };
  access.set({ out: false, keyNeeded });
  if (keyNeeded) await fetch(PLACE, { method: "POST" }).catch(() => undefined);
}

/** Gives the key; a sentence where it is not taken. */
export async function signIn(key: string): Promise<string | undefined> {
  // A header's characters are bytes.
  const bytes = String.fromCharCode(...new TextEncoder().encode(key.trim()));
  const options = { method: "POST", headers: { Authorization: `Bearer ${bytes}` } };
  const answer = await fetch(PLACE, options).catch(() => undefined);
  if (!answer) return "The server cannot be reached. Is it still running?";
  if (answer.status === 401) return "This is none of this server’s keys. Check that all of it was copied, and nothing else.";
  if (!answer.ok) return `The server answered ${answer.status}.`;
  access.set({ out: false, keyNeeded: true });
  return undefined;
}

/** Gives the cookie back. */
export async function signOut(): Promise<void> {
  const answer = await fetch(PLACE, { method: "DELETE" }).catch(() => undefined);
  if (!answer || !(answer.ok || answer.status === 401)) throw new Error("The server cannot be reached: you are still signed in.");
  shutOut();
}

/** Keeps the cookie good for as long as the page is open. */
export function keepIn(): void {
  void look();
  setInterval(() => {
    if (access.get().keyNeeded && !access.get().out) void look();
  }, RENEW);
}
