/** Everything that happened besides talk, as a list: what the hatching says to the eye. */
import type { Details } from "../api";
import { clock, gapReason, spoken } from "../format";
import { pauseText } from "./lane";

interface Happening {
  at: number;
  what: string;
  kind: string;
  who: string;
}

export function Happenings({ recording, onSeek }: { recording: Details; onSeek(seconds: number): void }) {
  const all = happenings(recording);
  if (all.length === 0) return null;
  return (
    <section class="happenings" aria-labelledby="happenings-title">
      <h2 id="happenings-title">Marks, pauses and gaps</h2>
      <ol>
        {all.map(({ at, what, kind, who }) => (
          <li key={`${kind}${at}${who}${what}`}>
            <button type="button" onClick={() => onSeek(at)}>
              <span class="at">{clock(at)}</span>
              <span class={`kind ${kind}`}>{kind}</span>
              <span class="what">{what}</span>
              <span class="who">{who}</span>
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}

function happenings(recording: Details): Happening[] {
  const who = (id: string) => recording.tracks.find((track) => track.id === id)?.participant ?? "";
  const lasting = (text: string, seconds: number) => `${text}, ${seconds < 1 ? "less than a second" : spoken(seconds)}`;
  const all = [
    ...recording.marks.map((mark) => ({ at: mark.at_seconds, what: mark.name, kind: "mark", who: who(mark.track_id) })),
    ...recording.pauses.map((pause) => ({
      at: pause.start_seconds,
      what: lasting(pauseText(pause), pause.duration_seconds),
      kind: "pause",
      who: who(pause.track_id),
    })),
    ...recording.gaps.map((gap) => ({
      at: gap.start_seconds,
      what: lasting(gapReason(gap.reason), gap.duration_seconds),
      kind: "gap",
      who: who(gap.track_id),
    })),
  ];
  return all.sort((a, b) => a.at - b.at);
}
