/** One recording: looked at, listened to, saved, deleted. */
import { useEffect, useState } from "preact/hooks";
import { type Details, Refused, details, isLive } from "../api";
import { deleteLater } from "../library/deletions";
import { Status } from "../library/row";
import { bytes, callName, clock, moment, plural } from "../format";
import { DownloadDialog } from "../ui/download";
import { Back, Download, Trash } from "../ui/icons";
import { Player } from "./player";

/** Milliseconds between looks at a live recording. */
const LOOK = 1_000;

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
  ].filter(Boolean);
}

/** The details, looked at again each second while the recording is live. */
function useDetails(id: string): { recording?: Details; error?: string } {
  const [found, setFound] = useState<{ recording?: Details; error?: string }>({});
  useEffect(() => {
    const abort = new AbortController();
    let timer: number;
    const look = async () => {
      try {
        const recording = await details(id, abort.signal);
        setFound({ recording });
        if (isLive(recording)) timer = window.setTimeout(look, LOOK);
      } catch (error) {
        if (abort.signal.aborted) return;
        setFound((before) => ({ recording: before.recording, error: (error as Error).message }));
        // A recording that is not there will not come; a server may.
        if (!(error instanceof Refused && error.status === 404)) timer = window.setTimeout(look, 2 * LOOK);
      }
    };
    void look();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [id]);
  return found;
}
