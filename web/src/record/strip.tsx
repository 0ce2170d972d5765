/** The last seconds as they are heard: in the accent while on their way, in ink once they are on the server's disk. */
import { useEffect, useRef } from "preact/hooks";
import { isDark, watchTheme } from "../ui/theme";
import { COLUMN } from "./history";
import { type RecorderState, recorder } from "./recorder";
import { RATE } from "./units";

/** Pixels from column to column, and of a column. */
const [PITCH, BAR] = [4, 2];
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export function Strip({ state }: { state: RecorderState }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const latest = useRef(state);
  latest.current = state;
  useEffect(() => {
    let frame = 0;
    let colours = inks();
    const unwatch = watchTheme(() => {
      colours = inks();
    });
    const draw = () => {
      if (canvas.current) paint(canvas.current, latest.current, colours);
      // A picture that runs is a movement too: then it steps.
      frame = calm.matches ? window.setTimeout(draw, 1_000) : requestAnimationFrame(draw);
    };
    draw();
    return () => {
      unwatch();
      cancelAnimationFrame(frame);
      clearTimeout(frame);
    };
  }, []);
  return <canvas ref={canvas} class="strip" role="img" aria-label="Level of the microphone over the last seconds" />;
}

interface Inks {
  kept: string;
  fresh: string;
  faint: string;
}

function inks(): Inks {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(name).trim() || (isDark() ? "#fff" : "#000");
  return { kept: of("--ink"), fresh: of("--accent"), faint: of("--line-strong") };
}

function paint(canvas: HTMLCanvasElement, state: RecorderState, colours: Inks): void {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  if (!context) return;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const { history } = recorder;
  const safe = (state.safe * RATE) / COLUMN;
  for (let x = width - BAR, column = history.columns; x >= 0; x -= PITCH, column -= 1) {
    const there = history.has(column);
    const bar = there ? Math.max(2, Math.min(1, history.peak(column)) ** 0.6 * height) : 2;
    context.fillStyle = !there || history.paused(column) ? colours.faint : column < safe ? colours.kept : colours.fresh;
    context.fillRect(x, (height - bar) / 2, BAR, bar);
  }
}
