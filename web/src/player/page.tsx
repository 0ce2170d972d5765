/** One recording: looked at, listened to, saved, deleted. */
import { useEffect, useState } from "preact/hooks";
import { type Details, isLive } from "../api";
import { deleteLater } from "../library/deletions";
import { Status } from "../library/row";
import { bytes, callName, clock, moment, plural } from "../format";
import { whereabouts } from "../storage/words";
import { DownloadDialog } from "../ui/download";
import { Back, Download, Trash } from "../ui/icons";
import { type Found, Follower } from "./follow";
import { Player } from "./player";

export function PlayerPage({ id, at }: { id: string; at?: number }) {
  const { recording, error } = useDetails(id);
  const [saving, setSaving] = useState(false);
  if (!recording) {
    return (
      <div class="player">
        <BackLink />
        {error ? <p class="banner" role="alert">{error}</p> : <p class="nothing" role="status">Looking…</p>}
      </div>
    );
  }
  const remove = () => {
    deleteLater(recording, () => undefined);
    location.hash = "#/";
  };
  return (
    <div class="player">
      <BackLink />
      <header class="player-head">
        <div>
          <h1>{callName(recording)}</h1>
          <p class="facts">{facts(recording).map((fact) => <span key={fact}>{fact}</span>)}<Status recording={recording} /></p>
        </div>
        <div class="player-actions">
          <button type="button" class="button" onClick={() => setSaving(true)}>
            <Download /> Download
          </button>
          <button type="button" class="button icon-only quiet" aria-label="Delete this recording" onClick={remove}>
            <Trash />
          </button>
        </div>
      </header>
      {error && <p class="banner" role="alert">{error}</p>}
      {recording.reason && <p class="banner">{recording.reason}</p>}
      {recording.tracks.some((track) => track.samples > 0) ? (
        <Player recording={recording} at={at} />
      ) : (
        <p class="nothing">{isLive(recording) ? "Nothing has arrived yet." : "This recording holds no sound."}</p>
      )}
      {saving && <DownloadDialog recording={recording} onClose={() => setSaving(false)} />}
    </div>
  );
}

function BackLink() {
  return (
    <a class="back" href="#/">
      <Back /> Recordings
    </a>
  );
}

function facts(recording: Details): string[] {
  return [
    moment(recording.started_at ?? recording.created_at),
    clock(recording.duration_seconds),
    plural(new Set(recording.tracks.map((track) => track.participant)).size, "speaker"),
    recording.size_bytes === null ? "" : bytes(recording.size_bytes),
    recording.bytes ? whereabouts(recording.bytes) : "",
  ].filter(Boolean);
}

function useDetails(id: string): Found {
  const [found, setFound] = useState<Found>({});
  useEffect(() => {
    // What was found last stays in view while the server is away.
    const follower = new Follower(id, ({ recording, error }) =>
      setFound((before) => ({ recording: recording ?? before.recording, error })));
    return () => follower.close();
  }, [id]);
  return found;
}
