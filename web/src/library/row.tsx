/** One recording in a list. */
import { type Bytes, type Recording, isLive } from "../api";
import { ago, bytes, callName, clock, moment, spoken } from "../format";
import { whereabouts } from "../storage/words";
import { Download, Trash } from "../ui/icons";

interface Props {
  recording: Recording;
  doomed: boolean;
  /** It has ended, and the store is away. */
  waiting: boolean;
  onDownload(recording: Recording): void;
  onDelete(recording: Recording): void;
}

export function Row({ recording, doomed, waiting, onDownload, onDelete }: Props) {
  const name = callName(recording);
  const live = isLive(recording) && !waiting;
  return (
    <article class={`row ${live ? "live" : ""} ${doomed ? "doomed" : ""}`}>
      <a class="row-link" href={`#/r/${recording.id}`}>
        <span class="row-name">{name}</span>
        <span class="row-people">{(recording.participants ?? []).join(", ")}</span>
      </a>
      <Status recording={recording} waiting={waiting} />
      <time class="row-when" dateTime={recording.created_at} title={moment(recording.created_at)}>
        {ago(recording.created_at)}
      </time>
      <Size recording={recording} />
      <span class="row-length" aria-label={spoken(recording.duration_seconds)} role="img">
        {clock(recording.duration_seconds)}
      </span>
      <span class="row-actions">
        <button type="button" class="button icon-only quiet" aria-label={`Download ${name}`} onClick={() => onDownload(recording)}>
          <Download />
        </button>
        <button
          type="button"
          class="button icon-only quiet"
          aria-label={`Delete ${name}`}
          disabled={doomed}
          onClick={() => onDelete(recording)}
        >
          <Trash />
        </button>
      </span>
    </article>
  );
}

const STATES: Record<string, string> = {
  starting: "Starting",
  active: "Live",
  ending: "Saving",
  failed: "Failed",
  aborted: "Aborted",
  limit_reached: "Limit reached",
};

/** Its size; of one that is not in the store, how much there is here, and how much of it has been shipped. */
function Size({ recording: { size_bytes: size, bytes: held } }: { recording: Recording }) {
  if (!held) return <span class="row-size">{size === null ? "" : bytes(size)}</span>;
  return (
    <span class="row-size" role="img" aria-label={whereabouts(held)} title={whereabouts(held)}>
      {held.spool > 0 && bytes(held.spool)}
      {held.shipped > 0 && <Meter {...held} />}
    </span>
  );
}

function Meter({ shipped, spool }: Bytes) {
  return (
    <span class="meter">
      <i style={{ width: `${Math.min(100, (100 * shipped) / spool)}%` }} />
    </span>
  );
}

/** The state, where it is not simply complete. */
export function Status({ recording, waiting = false }: { recording: Recording; waiting?: boolean }) {
  const word = waiting ? "Waiting" : STATES[recording.state];
  if (!word) return <span class="row-state" />;
  const tone = waiting ? "" : isLive(recording) ? "live" : recording.status === "failed" ? "failed" : "";
  return (
    <span class="row-state">
      <span class={`state ${tone}`} title={recording.reason}>
        {word}
      </span>
    </span>
  );
}

/** Where a recording will stand once it is fetched. */
export function Blank() {
  return (
    <article class="row blank" aria-hidden="true">
      <span class="row-link">
        <span class="row-name" />
      </span>
    </article>
  );
}
