/** What of a recording to save, and as what. */
import { useState } from "preact/hooks";
import { type Recording, request, streamUrl } from "../api";
import { callName } from "../format";
import { Dialog } from "./dialog";

const FORMATS: [string, string][] = [
  ["wav", "WAV"],
  ["flac", "FLAC"],
  ["ogg", "Ogg"],
  ["mp3", "MP3"],
  ["webm", "WebM"],
  ["mp4", "MP4"],
];

export function DownloadDialog({ recording, onClose }: { recording: Recording; onClose(): void }) {
  const speakers = recording.participants ?? [];
  const several = speakers.length > 1;
  const [format, setFormat] = useState("wav");
  const [voice, setVoice] = useState(several ? "layout=mono" : "");
  const [problem, setProblem] = useState("");
  const voices: [string, string][] = several
    ? [["layout=mono", "Everyone, mono"], ["layout=stereo", "Everyone, stereo"], ...speakers.map(speaker)]
    : [["", "As recorded"], ["layout=mono", "Mono"], ["layout=stereo", "Stereo"]];

  const save = async (event: Event) => {
    event.preventDefault();
    setProblem("");
    try {
      await download(streamUrl(recording.id, { format, ...Object.fromEntries(new URLSearchParams(voice)) }));
      onClose();
    } catch (error) {
      setProblem((error as Error).message);
    }
  };

  return (
    <Dialog title={`Download ${callName(recording)}`} onClose={onClose}>
      <form onSubmit={save}>
        <Choice legend="Format" name="format" options={FORMATS} chosen={format} onChoose={setFormat} />
        <Choice legend="Voices" name="voice" options={voices} chosen={voice} onChoose={setVoice} />
        <p class="problem" role="alert">{problem}</p>
        <footer>
          <button type="submit" class="button primary">Download</button>
        </footer>
      </form>
    </Dialog>
  );
}

function speaker(name: string): [string, string] {
  return [new URLSearchParams({ participant: name }).toString(), `Only ${name}`];
}

/** Asks for the first byte, to hear a refusal before the browser saves it as a file. */
async function download(url: string): Promise<void> {
  const first = await request(url, { headers: { Range: "bytes=0-0" } });
  await first.body?.cancel();
  const link = document.createElement("a");
  link.href = url;
  link.download = "";
  document.body.append(link);
  link.click();
  link.remove();
}

interface ChoiceProps {
  legend: string;
  name: string;
  options: [string, string][];
  chosen: string;
  onChoose(value: string): void;
}

function Choice({ legend, name, options, chosen, onChoose }: ChoiceProps) {
  return (
    <fieldset class="choice">
      <legend>{legend}</legend>
      {options.map(([value, label]) => (
        <label key={value}>
          <input type="radio" name={name} checked={value === chosen} onChange={() => onChoose(value)} />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}
