/** Plays tracks as files: an audio element each, so that the browser seeks, buffers, and keeps the pitch at any speed. */
import { type Details, type Track, request } from "../api";
import { endOf, soundUrl } from "./sound";
import type { Transport, TransportEvents } from "./transport";

/** Seconds by which a track may be off before it is moved. */
const DRIFT = 0.06;
const TICK = 120;
/** Tracks that may be streamed at once: a browser opens six connections to a server, and each stream keeps one. */
export const STREAMS = 4;

interface Voice {
  track: Track;
  element: HTMLAudioElement;
}

export class ElementTransport implements Transport {
  playing = false;
  private voices: Voice[];
  private rate = 1;
  private end: number;
  /** The clock where no track leads: `at` seconds, as of `since` on the page's clock. */
  private at = 0;
  private since = 0;
  private timer = 0;

  constructor(
    recording: Details,
    private readonly events: TransportEvents,
  ) {
    this.voices = recording.tracks.map((track) => ({ track, element: this.element(track) }));
    this.end = Math.max(recording.duration_seconds, ...recording.tracks.map(endOf));
    if (this.voices.length > STREAMS) void this.loadWhole(recording);
    else for (const { track, element } of this.voices) element.src = soundUrl(recording, track);
  }

  get time(): number {
    const leader = this.playing ? this.leader() : undefined;
    if (leader) return leader.track.start_seconds + leader.element.currentTime;
    return this.playing ? Math.min(this.end, this.at + ((performance.now() - this.since) / 1000) * this.rate) : this.at;
  }

  async play(): Promise<void> {
    if (this.at >= this.end - 0.05) this.at = 0;
    this.since = performance.now();
    this.playing = true;
    this.place();
    this.timer = window.setInterval(() => this.tick(), TICK);
    this.tick();
  }

  pause(): void {
    this.at = this.time;
    this.playing = false;
    clearInterval(this.timer);
    for (const { element } of this.voices) element.pause();
  }

  seek(seconds: number): void {
    this.at = Math.max(0, Math.min(seconds, this.end));
    this.since = performance.now();
    this.place();
  }

  setRate(rate: number): void {
    this.at = this.time;
    this.since = performance.now();
    this.rate = rate;
    for (const { element } of this.voices) element.playbackRate = rate;
  }

  setAudible(tracks: ReadonlySet<string>): void {
    for (const { track, element } of this.voices) element.muted = !tracks.has(track.id);
  }

  update(recording: Details): void {
    this.end = Math.max(recording.duration_seconds, ...recording.tracks.map(endOf));
    for (const voice of this.voices) voice.track = recording.tracks.find(({ id }) => id === voice.track.id) ?? voice.track;
  }

  close(): void {
    this.pause();
    for (const { element } of this.voices) {
      if (element.src.startsWith("blob:")) URL.revokeObjectURL(element.src);
      element.removeAttribute("src");
      element.load();
    }
    this.voices = [];
  }

  /** One file after the other, so that no connection is kept. */
  private async loadWhole(recording: Details): Promise<void> {
    for (const { track, element } of this.voices) {
      const file = await request(soundUrl(recording, track)).then((answer) => answer.blob()).catch(() => undefined);
      if (this.voices.length === 0) return;
      if (!file) this.events.failed(`The sound of ${track.participant} could not be fetched.`);
      else element.src = URL.createObjectURL(file);
    }
  }

  private element(track: Track): HTMLAudioElement {
    const element = new Audio();
    element.preload = "metadata";
    element.addEventListener("error", () => {
      if (element.hasAttribute("src")) this.events.failed(`The sound of ${track.participant} cannot be played by this browser.`);
    });
    return element;
  }

  /** Puts every track where the clock stands. */
  private place(): void {
    for (const { track, element } of this.voices) element.currentTime = Math.max(0, this.at - track.start_seconds);
  }

  /** The track whose clock counts: the first that runs. */
  private leader(): Voice | undefined {
    return this.voices.find(({ element }) => !element.paused && !element.ended && element.readyState >= 2);
  }

  private tick(): void {
    const now = this.time;
    [this.at, this.since] = [now, performance.now()];
    for (const voice of this.voices) this.steer(voice, now);
    if (now >= this.end - 0.02) {
      this.pause();
      this.at = this.end;
      this.events.changed();
    }
  }

  private steer({ track, element }: Voice, now: number): void {
    const due = now >= track.start_seconds && now < endOf(track) - 0.01;
    if (!due) {
      if (!element.paused) element.pause();
      return;
    }
    // The file was as long as the recording when it was opened; it has grown since.
    if (element.ended) element.load();
    const place = now - track.start_seconds;
    if (Math.abs(element.currentTime - place) > DRIFT * Math.max(1, this.rate)) element.currentTime = place;
    if (element.paused && !element.ended) {
      element.playbackRate = this.rate;
      element.play().catch((error: DOMException) => {
        if (error.name === "NotAllowedError") this.refused();
      });
    }
  }

  private refused(): void {
    this.pause();
    this.events.changed();
    this.events.failed("The browser plays no sound before you press something on the page: press Play again.");
  }
}
