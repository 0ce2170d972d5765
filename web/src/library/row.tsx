/** One recording in a list. */
import { type Recording, isLive } from "../api";
import { ago, bytes, callName, clock, moment, spoken } from "../format";
import { Download, Trash } from "../ui/icons";

interface Props {
  recording: Recording;
  doomed: boolean;
  onDownload(recording: Recording): void;
  onDelete(recording: Recording): void;
}

export function Row({ recording, doomed, onDownload, onDelete }: Props) {
  const name = callName(recording);
  const live = isLive(recording);
  return (
    <article class={`row ${live ? "live" : ""} ${doomed ? "doomed" : ""}`}>
      <a class="row-link" href={`#/r/${recording.id}`}>
        <span class="row-name">{name}</span>
        <span class="row-people">{(recording.participants ?? []).join(", ")}</span>
      </a>
      <Status recording={recording} />
      <time class="row-when" dateTime={recording.created_at} title={moment(recording.created_at)}>
        {ago(recording.created_at)}
      </time>
      <span class="row-size">{recording.size_bytes === null ? "" : bytes(recording.size_bytes)}</span>
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
  ending: "Ending",
  failed: "Failed",
  aborted: "Aborted",
  limit_reached: "Limit reached",
};

/** The state, where it is not simply complete. */
export function Status({ recording }: { recording: Recording }) {
  const word = STATES[recording.state];
  if (!word) return <span class="row-state" />;
  const tone = isLive(recording) ? "live" : recording.status === "failed" ? "failed" : "";
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
