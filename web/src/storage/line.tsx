/** How the store is: a line above the list, and all that is known of it in a dialog. */
import { useEffect, useState } from "preact/hooks";
import { type StoreStatus, storeStatus } from "../api";
import { ago, bytes } from "../format";
import { Dialog } from "../ui/dialog";
import { Away, Moving, Stored } from "../ui/icons";
import { type Mood, inOneLine, moodOf, remaining, room, waiting } from "./words";

/** Milliseconds between looks. */
const LOOK = 2_000;
const ICONS = { stored: Stored, moving: Moving, away: Away };

/** The store as of a moment ago. */
export function useStoreStatus(): StoreStatus | undefined {
  const [status, setStatus] = useState<StoreStatus>();
  useEffect(() => {
    const abort = new AbortController();
    let timer: number;
    const look = async () => {
      // A server that is away is told of where the recordings are.
      if (!document.hidden) await storeStatus(abort.signal).then(setStatus, () => undefined);
      if (!abort.signal.aborted) timer = window.setTimeout(look, LOOK);
    };
    void look();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, []);
  return status;
}

export function StoreLine({ status }: { status: StoreStatus }) {
  const [open, setOpen] = useState(false);
  const mood = moodOf(status);
  const Icon = ICONS[mood];
  return (
    <>
      <button type="button" class={`store-line ${mood}`} aria-haspopup="dialog" onClick={() => setOpen(true)}>
        <Icon />
        <span>{inOneLine(status)}</span>
      </button>
      <span class="visually-hidden" role="status">{mood === "away" ? "The store does not answer." : ""}</span>
      {open && <StoreDialog status={status} mood={mood} onClose={() => setOpen(false)} />}
    </>
  );
}

function StoreDialog({ status, mood, onClose }: { status: StoreStatus; mood: Mood; onClose(): void }) {
  const { health, backlog } = status;
  return (
    <Dialog title="Where recordings are" onClose={onClose}>
      <Way status={status} mood={mood} />
      <p class="way-say">{advice(status, mood)}</p>
      <dl class="figures">
        <Figure name="Waiting">
          {backlog.recordings ? waiting(status) : "Nothing"}
          {backlog.oldest_seconds !== null && <small>The oldest ended {agoSeconds(backlog.oldest_seconds)}</small>}
        </Figure>
        <Figure name="Going out">{remaining(status)}</Figure>
        <Figure name="Room here">{room(status)}</Figure>
        <Figure name="Last answer">{health.last_success_at ? ago(health.last_success_at) : "None since the server started"}</Figure>
        <Figure name="Last failure">
          {health.last_failure}
          {health.last_failure_at && <small>{ago(health.last_failure_at)}</small>}
        </Figure>
        <Figure name="Address"><code>{status.place}</code></Figure>
      </dl>
    </Dialog>
  );
}

function Figure({ name, children }: { name: string; children: preact.ComponentChildren }) {
  const empty = [children].flat().every((child) => child === undefined || child === null || child === false);
  if (empty) return null;
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Two reels, and the tape from one to the other. */
function Way({ status, mood }: { status: StoreStatus; mood: Mood }) {
  const between = { stored: "Nothing waits", moving: bytes(status.backlog.bytes), away: "No answer" }[mood];
  return (
    <div class={`way ${mood}`}>
      <div class="way-tape">
        <i class="reel" />
        <span class="tape">{between}</span>
        <i class="reel" />
      </div>
      <div class="way-ends">
        <p>
          <b>This machine</b>
          <span>holds {bytes(status.spool.bytes)}</span>
        </p>
        <p>
          <b>{KINDS[status.kind] ?? status.kind}</b>
          <span>{status.remote ? "elsewhere" : "on this machine too"}</span>
        </p>
      </div>
    </div>
  );
}

const KINDS: Record<string, string> = { file: "A folder", s3: "S3", "vercel-blob": "Vercel Blob" };

function advice(status: StoreStatus, mood: Mood): string {
  if (mood === "away") {
    return "Calls go on, and what ends is kept here for as long as there is room. It goes out by itself once the store answers.";
  }
  if (!status.remote) return "The store is a folder of this machine. Whoever loses the machine loses it as well.";
  return mood === "moving" ? "What has ended is being stored. What is live goes along in pieces." : "Everything that has ended is stored away from this machine.";
}

function agoSeconds(seconds: number): string {
  return ago(new Date(Date.now() - 1000 * seconds).toISOString());
}
