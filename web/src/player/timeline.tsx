/** The ruler, the marks on it, and the place that is played: a slider over all lanes. */
import { useRef, useState } from "preact/hooks";
import type { Mark } from "../api";
import { clock, spoken } from "../format";

const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200];
/** Labels that fit. */
const LABELS = 10;

interface RulerProps {
  length: number;
  marks: Mark[];
  /** Classes of the speakers' colours, by track. */
  colours: ReadonlyMap<string, string>;
  onSeek(seconds: number): void;
}

export function Ruler({ length, marks, colours, onSeek }: RulerProps) {
  const step = STEPS.find((each) => length / each <= LABELS) ?? 14_400;
  const ticks = Array.from({ length: Math.floor(length / step) + 1 }, (_, i) => i * step);
  return (
    <div class="ruler">
      <div class="ruler-scale" aria-hidden="true">
        {ticks.map((at) => (
          <span key={at} class="tick" style={{ left: `${(100 * at) / length}%` }}>
            {clock(at, step < 1)}
          </span>
        ))}
      </div>
      {marks.map((mark) => (
        <span
          key={`${mark.track_id}${mark.at_seconds}${mark.name}`}
          class={`pole ${colours.get(mark.track_id) ?? ""}`}
          style={{ "--where": mark.at_seconds / length }}
        >
          <button
            type="button"
            class="flag"
            aria-label={`Mark ${mark.name}, at ${spoken(mark.at_seconds)}`}
            title={`${mark.name} · ${clock(mark.at_seconds)}`}
            onClick={() => onSeek(mark.at_seconds)}
          >
            {mark.name}
          </button>
        </span>
      ))}
    </div>
  );
}

interface SliderProps {
  length: number;
  time: number;
  live: boolean;
  onSeek(seconds: number): void;
}

/** Lies over the lanes. The line itself is moved by the style `--at`, each frame. */
export function Slider({ length, time, live, onSeek }: SliderProps) {
  const box = useRef<HTMLDivElement>(null);
  const [pointed, setPointed] = useState<number>();
  const place = (event: PointerEvent) => {
    const { left, width } = box.current?.getBoundingClientRect() ?? { left: 0, width: 1 };
    return Math.max(0, Math.min(1, (event.clientX - left) / width)) * length;
  };
  const down = (event: PointerEvent) => {
    if (event.button !== 0) return;
    box.current?.setPointerCapture(event.pointerId);
    onSeek(place(event));
  };
  const move = (event: PointerEvent) => {
    const at = place(event);
    setPointed(at);
    if (event.buttons & 1) onSeek(at);
  };
  return (
    <div
      ref={box}
      class="slider"
      role="slider"
      tabIndex={0}
      aria-label="Position"
      aria-valuemin={0}
      aria-valuemax={Math.round(length)}
      aria-valuenow={Math.round(time)}
      aria-valuetext={`${spoken(time)} of ${spoken(length)}${live ? ", live" : ""}`}
      onPointerDown={down}
      onPointerMove={move}
      onPointerLeave={() => setPointed(undefined)}
    >
      {pointed !== undefined && (
        <span class="pointed" style={{ left: `${(100 * pointed) / length}%` }}>{clock(pointed, length < 600)}</span>
      )}
      <span class="playhead" />
    </div>
  );
}
