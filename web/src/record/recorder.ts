/** A recording from this machine's microphone, from the first press to the server's last word. */
import { look } from "../access";
import { Refused, list } from "../api";
import { Store } from "../store";
import { type Capture, NO_SERVER, NoMicrophone, openMicrophone } from "./capture";
import { History } from "./history";
import { Link } from "./link";
import { Outbox } from "./outbox";
import { FRAME, KEPT, RATE } from "./units";
import { wavFile } from "./wav";

export type Phase = "idle" | "asking" | "connecting" | "recording" | "away" | "stopping" | "done" | "failed";

export interface Names {
  call: string;
  participant: string;
}

export interface RecorderState {
  phase: Phase;
  /** As they were given; either may be empty. */
  names: Names;
  paused: boolean;
  /** Whether the server is there. */
  connected: boolean;
  /** Seconds recorded, on the server's disk, and given up for want of room. */
  elapsed: number;
  safe: number;
  lost: number;
  device: string;
  recordingId?: string;
  marks: { at: number; name: string }[];
  /** What is going on, where it is not plain. */
  notice?: string;
  error?: { message: string; advice: string };
}

const IDLE: RecorderState = {
  phase: "idle", names: { call: "", participant: "" }, paused: false, connected: false, elapsed: 0, safe: 0, lost: 0, device: "", marks: [],
};

export class Recorder {
  readonly state = new Store<RecorderState>(IDLE);
  /** Levels of the last while, for the eye. */
  history = new History();
  private outbox = new Outbox(KEPT);
  private link?: Link;
  private capture?: Capture;
  private lock?: WakeLockSentinel;

  constructor() {
    addEventListener("online", () => this.link?.hurry());
    addEventListener("beforeunload", (event) => {
      if (this.busy) event.preventDefault();
    });
  }

  /** Whether audio would be lost if the page were closed now. */
  get busy(): boolean {
    return ["connecting", "recording", "away", "stopping"].includes(this.state.get().phase);
  }

  async start(names: Names): Promise<void> {
    if (this.busy || this.state.get().phase === "asking") return;
    this.outbox = new Outbox(KEPT);
    this.history = new History();
    this.state.set({ ...IDLE, phase: "asking", names, recordingId: undefined, notice: undefined, error: undefined });
    try {
      this.capture = await openMicrophone({ frame: (samples) => this.take(samples), ended: () => this.unplugged() });
    } catch (error) {
      return this.fail(error);
    }
    this.state.set({ phase: "connecting", device: this.capture.device });
    this.link = new Link(this.outbox, names, this);
    this.link.connect();
    this.lock = await navigator.wakeLock?.request("screen").catch(() => undefined);
  }

  pause(): void {
    if (this.state.get().paused) return;
    this.outbox.say(JSON.stringify({ type: "pause" }));
    this.state.set({ paused: true });
  }

  resume(): void {
    if (!this.state.get().paused) return;
    this.outbox.say(JSON.stringify({ type: "resume" }));
    this.state.set({ paused: false });
  }

  mark(name: string): void {
    this.outbox.say(JSON.stringify({ type: "mark", name }));
    this.state.set({ marks: [...this.state.get().marks, { at: this.outbox.end / RATE, name }] });
    this.link?.pump();
  }

  stop(notice?: string): void {
    if (!this.busy || this.state.get().phase === "stopping") return;
    this.release();
    this.outbox.say(JSON.stringify({ type: "stop" }));
    this.state.set({ phase: "stopping", notice });
    this.link?.pump();
  }

  /** Stops waiting for a server that does not come back. */
  giveUp(): void {
    this.link?.abandon();
    this.release();
    this.state.set({ phase: "done", notice: "Stopped without the server. Save what it does not have before you leave." });
  }

  /** What the server does not have, as a WAV file. */
  unsent(): Blob | undefined {
    const rest = this.outbox.rest();
    return rest.length ? wavFile(rest, RATE) : undefined;
  }

  reset(): void {
    if (!this.busy) this.state.set({ ...IDLE, recordingId: undefined, notice: undefined, error: undefined });
  }

  // What the microphone says.

  private take(samples: Int16Array): void {
    const { phase, paused } = this.state.get();
    if (phase === "stopping" || phase === "done" || phase === "failed") return;
    // What is said in a pause does not leave this machine; the silence keeps the clock.
    const kept = paused ? new Int16Array(samples.length) : samples;
    this.history.push(kept, paused);
    this.outbox.push(kept);
    this.link?.pump();
    if (this.outbox.end % (FRAME * 5) === 0) this.count();
  }

  private unplugged(): void {
    this.stop("The microphone was disconnected. What it heard until then is kept.");
  }

  // What the connection says.

  open(recordingId: string): void {
    const { phase } = this.state.get();
    this.state.set({ connected: true, recordingId, notice: undefined, phase: phase === "stopping" ? phase : "recording" });
  }

  lost(why?: string): void {
    const { phase, recordingId } = this.state.get();
    if (phase === "connecting" && !recordingId) void this.explainAbsence(why);
    else {
      this.state.set({ connected: false, notice: why, phase: phase === "stopping" ? phase : "away" });
      // A browser does not say why: perhaps somebody has to sign in again.
      void look();
    }
  }

  acknowledged(): void {
    this.count();
  }

  stopped(): void {
    const { phase, notice } = this.state.get();
    this.release();
    this.state.set({ phase: "done", notice: phase === "stopping" ? notice : "The recording was stopped on the server." });
    this.count();
  }

  refused(why: string): void {
    this.fail(new NoMicrophone(why, "Nothing more can be sent to this recording. Start a new one."));
  }

  private async explainAbsence(why?: string): Promise<void> {
    const refusal = await list({ page_size: "1" }).then(() => undefined, (error: Error) => error);
    if (!refusal) {
      const advice = "See /readyz for what it lacks, then press Record again.";
      this.fail(new NoMicrophone(why ?? "The server takes no recording now.", advice));
    } else if (refusal instanceof Refused && refusal.status === 0) {
      this.fail(new NoMicrophone("There is no server.", NO_SERVER));
    } else {
      this.fail(new NoMicrophone("The server refused the recording.", refusal.message));
    }
  }

  private count(): void {
    const { end, acknowledged, lost } = this.outbox;
    this.state.set({ elapsed: end / RATE, safe: Math.min(acknowledged, end) / RATE, lost: lost / RATE });
  }

  private fail(error: unknown): void {
    this.link?.abandon();
    this.release();
    const told = error instanceof NoMicrophone ? error : new NoMicrophone(String(error), "Try again.");
    this.state.set({ phase: "failed", connected: false, error: { message: told.message, advice: told.advice } });
  }

  private release(): void {
    this.capture?.stop();
    this.capture = undefined;
    void this.lock?.release().catch(() => undefined);
  }
}

/** The one recorder of this page: it goes on while other views are looked at. */
export const recorder = new Recorder();
