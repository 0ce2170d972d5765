/** The microphone: asked for, resampled on the audio thread, handed over in frames. */

declare const WORKLET_URL: string;

/** Why there is no sound, and what to do about it. */
export class NoMicrophone extends Error {
  constructor(
    message: string,
    readonly advice: string,
  ) {
    super(message);
  }
}

export interface Capture {
  /** The device's name. */
  readonly device: string;
  stop(): void;
}

export interface Listener {
  frame(samples: Int16Array): void;
  /** The device is gone. */
  ended(): void;
}

/** What to do then. */
export const NO_SERVER = "It cannot be reached. Start it (./scripts/start), then press Record again.";

/** Opens the microphone. Throws `NoMicrophone`. */
export async function openMicrophone(listener: Listener): Promise<Capture> {
  checkBrowser();
  const stream = await ask();
  try {
    return await connect(stream, listener);
  } catch (error) {
    stop(stream);
    if (error instanceof NoMicrophone) throw error;
    throw new NoMicrophone(`The microphone could not be read: ${String(error)}`, "Close other programs that use it, then try again.");
  }
}

function checkBrowser(): void {
  if (!isSecureContext || !navigator.mediaDevices?.getUserMedia) {
    const here = `http://localhost:${location.port || 80}`;
    throw new NoMicrophone(
      "The browser lets no page use the microphone over plain HTTP from another machine.",
      `Open this page on the machine that runs the server, as ${here}, or put HTTPS in front of it.`,
    );
  }
  if (typeof AudioContext === "undefined" || typeof AudioWorkletNode === "undefined") {
    throw new NoMicrophone("This browser cannot process audio in a page.", "Use a current Firefox, Chrome, Edge or Safari.");
  }
}

/** As the microphone hears it: what a recorder is for. */
const CONSTRAINTS: MediaStreamConstraints = {
  audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
};

const REFUSALS: Record<string, [string, string]> = {
  NotAllowedError: [
    "The microphone was refused.",
    "Allow it for this page in the address bar (or in the system's privacy settings), then press Record again.",
  ],
  NotFoundError: ["No microphone was found.", "Plug one in, or choose an input in the system's sound settings, then try again."],
  NotReadableError: ["The microphone is in use or broken.", "Close other programs that use it, then try again."],
};

async function ask(): Promise<MediaStream> {
  try {
    return await navigator.mediaDevices.getUserMedia(CONSTRAINTS);
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    const [message, advice] = REFUSALS[name] ?? [`The microphone could not be opened (${name || String(error)}).`, "Try again."];
    throw new NoMicrophone(message, advice);
  }
}

async function connect(stream: MediaStream, listener: Listener): Promise<Capture> {
  const context = new AudioContext({ latencyHint: "interactive" });
  await load(context);
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  node.port.onmessage = (message) => listener.frame(message.data as Int16Array);
  context.createMediaStreamSource(stream).connect(node);
  // A system may put the audio to sleep, after a phone call for instance.
  context.onstatechange = () => {
    if (context.state === "suspended") void context.resume();
  };
  await context.resume();
  const track = stream.getAudioTracks()[0];
  track?.addEventListener("ended", () => listener.ended());
  return {
    device: track?.label || "Microphone",
    stop() {
      context.onstatechange = null;
      stop(stream);
      void context.close();
    },
  };
}

/** The audio thread's script comes from the server: where it does not come, there is none. */
async function load(context: AudioContext): Promise<void> {
  try {
    await context.audioWorklet.addModule(WORKLET_URL);
  } catch {
    void context.close();
    throw new NoMicrophone("There is no server.", NO_SERVER);
  }
}

function stop(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}
