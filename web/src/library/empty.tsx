/** What to do when there is nothing yet. */
import { complain, toast } from "../ui/toast";
import { Copy } from "../ui/icons";

export function Empty() {
  const command =
    "ffmpeg -re -i speech.wav -f s16le -ar 16000 -ac 1 - | " +
    `websocat --binary -B 3200 'ws://${location.host}/v1/ingest/pcm?call=demo&participant=anna'`;
  const copy = () => navigator.clipboard.writeText(command).then(() => toast("Copied."), complain);
  return (
    <section class="empty" aria-labelledby="empty-title">
      <Wave />
      <h2 id="empty-title">Nothing is recorded yet</h2>
      <p>Speak into this machine’s microphone, or send audio from anywhere over a WebSocket.</p>
      <a class="button primary" href="#/record">
        <span class="dot" /> Record
      </a>
      <figure class="command">
        <figcaption>Or from a shell</figcaption>
        <code tabIndex={0}>{command}</code>
        <button type="button" class="button icon-only quiet" aria-label="Copy the command" onClick={copy}>
          <Copy />
        </button>
      </figure>
    </section>
  );
}

/** A phrase of speech that runs out on a flat line. */
const HEIGHTS = [3, 5, 9, 16, 26, 20, 12, 22, 34, 40, 30, 18, 28, 36, 24, 14, 8, 12, 18, 26, 20, 10, 6, 4, 3, 2, 2, 2, 2, 2, 2, 2];

function Wave() {
  return (
    <svg class="empty-wave" viewBox="0 0 256 48" width="256" height="48" aria-hidden="true">
      {HEIGHTS.map((height, i) => (
        <rect key={i} x={i * 8 + 2} y={24 - height / 2} width="3" height={height} rx="1.5" />
      ))}
      <path class="playhead" d="M186 0v48" />
    </svg>
  );
}
