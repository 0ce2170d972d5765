/** One speaker: the name, mute and solo, the waveform, and what is missing from it. */
import { useEffect, useRef } from "preact/hooks";
import WaveSurfer from "wavesurfer.js";
import { type Details, type Stretch, type Track } from "../api";
import { clock, gapReason, spoken } from "../format";
import type { Store } from "../store";
import { watchTheme } from "../ui/theme";
import { type Outline, OutlineReader } from "./peaks";
import { lengthOf } from "./sound";
import { heights, stretch } from "./voices";

const HEIGHT = 72;

/** The highest bar of all lanes, before they are stretched. */
export type Highest = Store<{ height: number }>;

interface Props {
  recording: Details;
  track: Track;
  number: number;
  /** The class of the speaker's colour. */
  colour: string;
  highest: Highest;
  /** Seconds that the whole width stands for. */
  length: number;
  heard: boolean;
  solo: boolean;
  muted: boolean;
  onSolo(): void;
  onMute(): void;
  /** Called once with what shows a place on the recording's clock. */
  onReady(show: (seconds: number) => void): () => void;
}

export function Lane({ recording, track, number, colour, highest, length, heard, solo, muted, onSolo, onMute, onReady }: Props) {
  const name = track.participant || `Speaker ${number}`;
  const mine = <T extends { track_id: string }>(all: T[]) => all.filter((each) => each.track_id === track.id);
  return (
    <div class={`lane ${colour} ${heard ? "" : "unheard"}`} role="group" aria-label={name}>
      <div class="lane-head">
        <span class="lane-name" title={name}>{name}</span>
        <span class="lane-codec">{`${track.codec} · ${track.rate / 1000} kHz`}</span>
        <span class="lane-switches">
          <button type="button" class="switch" aria-pressed={muted} aria-label={`Mute ${name}`} title="Mute" onClick={onMute}>M</button>
          <button
            type="button"
            class="switch"
            aria-pressed={solo}
            aria-label={`Solo ${name}`}
            title={number < 10 ? `Solo (${number})` : "Solo"}
            onClick={onSolo}
          >
            S
          </button>
        </span>
      </div>
      <div class="lane-wave">
        <Wave recording={recording} track={track} highest={highest} length={length} onReady={onReady} />
        {mine(recording.gaps).map((gap) => (
          <Hole key={`g${gap.start_seconds}`} stretch={gap} length={length} kind="gap" text={gapReason(gap.reason)} />
        ))}
        {mine(recording.pauses).map((pause) => (
          <Hole key={`p${pause.start_seconds}`} stretch={pause} length={length} kind="pause" text={pauseText(pause)} />
        ))}
      </div>
    </div>
  );
}

export function pauseText(pause: Stretch): string {
  return pause.reason ? `Paused: ${pause.reason}` : "Paused";
}

interface HoleProps {
  stretch: Stretch;
  length: number;
  kind: "gap" | "pause";
  text: string;
}

function Hole({ stretch, length, kind, text }: HoleProps) {
  const { start_seconds: start, duration_seconds: seconds } = stretch;
  return (
    <span
      class={`hole ${kind}`}
      title={`${text}, ${clock(start)} to ${clock(start + seconds)} (${spoken(seconds)})`}
      style={{ left: `${(100 * start) / length}%`, width: `${(100 * seconds) / length}%` }}
    >
      <span>{text}</span>
    </span>
  );
}

interface WaveProps {
  recording: Details;
  track: Track;
  highest: Highest;
  length: number;
  onReady(show: (seconds: number) => void): () => void;
}

function Wave({ recording, track, highest, length, onReady }: WaveProps) {
  const box = useRef<HTMLDivElement>(null);
  const reader = useRef<OutlineReader>(undefined);

  useEffect(() => {
    if (!box.current) return undefined;
    const container = box.current;
    const wave = waveform(container, stretch(highest.get().height));
    let at = 0;
    const show = (seconds: number) => {
      at = seconds;
      wave.setTime(Math.max(0, seconds - track.start_seconds));
    };
    const outlines = new OutlineReader(recording, track, (outline) => {
      // A newer outline overtakes this one, or the lane is gone: nothing to say.
      draw(wave, outline, highest).then(() => show(at), () => undefined);
    });
    reader.current = outlines;
    const forget = onReady(show);
    const unwatch = [
      watchTheme(() => wave.setOptions(colours(container))),
      highest.watch(() => wave.setOptions({ barHeight: stretch(highest.get().height) })),
    ];
    return () => {
      forget();
      for (const each of unwatch) each();
      outlines.close();
      wave.destroy();
    };
  }, [recording.id, track.id]);

  useEffect(() => void reader.current?.update(recording, track), [recording, track.samples]);

  const [left, width] = [(100 * track.start_seconds) / length, (100 * lengthOf(track)) / length];
  return <div ref={box} class="wave" aria-hidden="true" style={{ left: `${left}%`, width: `${width}%` }} />;
}

function waveform(container: HTMLElement, barHeight: number): WaveSurfer {
  return WaveSurfer.create({
    container,
    height: HEIGHT,
    barWidth: 2,
    barGap: 1,
    barRadius: 1,
    barMinHeight: 1,
    barHeight,
    cursorWidth: 0,
    interact: false,
    hideScrollbar: true,
    maxPeak: 1,
    peaks: [new Float32Array(2)],
    duration: 1,
    cspNonce: document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content,
    ...colours(container),
  });
}

function draw(wave: WaveSurfer, { peaks, seconds }: Outline, highest: Highest): Promise<void> {
  const bars = heights(peaks);
  const height = bars.reduce((most, each) => Math.max(most, each), highest.get().height);
  // All lanes are stretched anew, this one among them.
  if (height > highest.get().height) highest.set({ height });
  return wave.load("", [bars], seconds);
}

/** As the style sheet has them for this lane. */
function colours(container: HTMLElement) {
  const { color, fill } = getComputedStyle(container);
  return { waveColor: fill, progressColor: color };
}
