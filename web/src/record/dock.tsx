/** The recording that goes on while another view is looked at. */
import { clock } from "../format";
import { useStore } from "../store";
import { Stop } from "../ui/icons";
import { recorder } from "./recorder";

export function Dock() {
  const state = useStore(recorder.state);
  if (!recorder.busy) return null;
  return (
    <aside class="dock" aria-label="Recording">
      <a href="#/record">
        <span class={`lamp ${state.paused ? "paused" : state.phase}`} />
        <span>{state.paused ? "Paused" : state.phase === "away" ? "Server away, recording goes on" : "Recording"}</span>
        <span class="dock-time">{clock(state.elapsed)}</span>
      </a>
      <button type="button" class="button" onClick={() => recorder.stop()}>
        <Stop /> Stop
      </button>
    </aside>
  );
}
