/** Plays tracks that still grow, or are many: their samples are fetched by range, a little ahead, and laid end to end on
 * the sound card's clock. At the live edge it waits for more. Another speed is another pitch. */
import { type Details, type Track, isLive } from "../api";
import { RangedWav, endOf, isLinear, soundUrl } from "./sound";
import type { Transport, TransportEvents } from "./transport";

/** Seconds fetched at a time, and kept ahead of what is heard. */
const PIECE = 2;
const AHEAD = 3;
const TICK = 200;
/** How far behind the newest sample live listening stays, so that it does not run dry, in seconds. */
export const EDGE = 1.5;
/** The newest samples of a live recording, in seconds, which are left until they have surely arrived. */
const FRESH = 0.3;

interface Voice {
  track: Track;
  wav: RangedWav;
  gain: GainNode;
}

export class RangeTransport implements Transport {
  playing = false;
  private readonly context = new AudioContext();
  private readonly voices = new Map<string, Voice>();
  private audible?: ReadonlySet<string>;
  private sources = new Set<AudioBufferSourceNode>();
  private end = 0;
  private rate = 1;
  /** Up to here, on the recording's clock, everything is laid out. */
  private laid = 0;
  /** The recording's clock stands at `at` when the sound card's stands at `since`. */
  private at = 0;
  private since = 0;
  private timer = 0;
  private fetching?: AbortController;

  constructor(
    private recording: Details,
    private readonly events: TransportEvents,
  ) {
    this.update(recording);
  }

  get time(): number {
    if (!this.playing) return this.at;
    const now = this.at + Math.max(0, this.context.currentTime - this.since) * this.rate;
    return Math.min(now, Math.max(this.at, this.laid));
  }

  async play(): Promise<void> {
    await this.context.resume();
    this.playing = true;
    this.restart(this.isOver(this.at) ? 0 : this.at);
    this.timer = window.setInterval(() => void this.fill(), TICK);
  }

  pause(): void {
    this.at = this.time;
    this.playing = false;
    clearInterval(this.timer);
    this.silence();
  }

  seek(seconds: number): void {
    const at = Math.max(0, Math.min(seconds, this.end));
    if (this.playing) this.restart(at);
    else this.at = at;
  }

  setRate(rate: number): void {
    const now = this.time;
    this.rate = rate;
    if (this.playing) this.restart(now);
  }

  setAudible(tracks: ReadonlySet<string>): void {
    const before = this.audible;
    this.audible = tracks;
    for (const [id, { gain }] of this.voices) gain.gain.value = tracks.has(id) ? 1 : 0;
    // What was not heard was not fetched.
    const more = before && [...tracks].some((id) => !before.has(id));
    if (more && this.playing) this.restart(this.time);
  }

  update(recording: Details): void {
    this.recording = recording;
    this.end = Math.max(recording.duration_seconds, ...recording.tracks.map(endOf));
    for (const track of recording.tracks) {
      const voice = this.voices.get(track.id);
      if (voice) voice.track = track;
      else if (isLinear(track)) this.voices.set(track.id, this.voice(track));
    }
  }

  close(): void {
    this.pause();
    void this.context.close();
  }

  private voice(track: Track): Voice {
    const gain = this.context.createGain();
    gain.gain.value = !this.audible || this.audible.has(track.id) ? 1 : 0;
    gain.connect(this.context.destination);
    return { track, wav: new RangedWav(soundUrl(this.recording, track)), gain };
  }

  private restart(at: number): void {
    this.silence();
    [this.at, this.laid] = [at, at];
    this.since = this.context.currentTime + 0.05;
    void this.fill();
  }

  private silence(): void {
    this.fetching?.abort();
    this.fetching = undefined;
    for (const source of this.sources) source.stop();
    this.sources.clear();
  }

  /** Lays out the next piece of every track, once the last one is about to be through. */
  private async fill(): Promise<void> {
    if (this.playing && this.isOver(this.time)) return this.finish();
    if (!this.playing || this.fetching || this.laid - this.time > AHEAD * this.rate) return;
    const until = Math.min(this.laid + PIECE, this.end - (isLive(this.recording) ? FRESH : 0));
    if (until <= this.laid) return;
    const abort = new AbortController();
    this.fetching = abort;
    try {
      await this.lay(this.laid, until, abort.signal);
    } catch (error) {
      if (abort.signal.aborted) return;
      this.pause();
      this.events.changed();
      this.events.failed((error as Error).message);
    }
    if (this.fetching === abort) this.fetching = undefined;
  }

  private isOver(seconds: number): boolean {
    return !isLive(this.recording) && seconds >= this.end - 0.02;
  }

  private finish(): void {
    this.pause();
    this.at = this.end;
    this.events.changed();
  }

  private async lay(from: number, until: number, signal: AbortSignal): Promise<void> {
    const voices = [...this.voices.values()].filter(({ track }) => this.audible?.has(track.id) ?? true);
    const pieces = await Promise.all(voices.map((voice) => this.piece(voice, from, until, signal)));
    if (signal.aborted) return;
    this.catchUp(from);
    const when = this.since + (from - this.at) / this.rate;
    for (const piece of pieces) if (piece) this.schedule(piece.buffer, piece.voice, when + piece.offset / this.rate);
    this.laid = until;
  }

  /** After a wait for more, the clock goes on from where it waited. */
  private catchUp(from: number): void {
    const due = this.since + (from - this.at) / this.rate;
    if (due < this.context.currentTime + 0.01) [this.at, this.since] = [from, this.context.currentTime + 0.05];
  }

  private async piece(voice: Voice, from: number, until: number, signal: AbortSignal) {
    const { rate, channels } = await voice.wav.format();
    const begin = Math.max(0, Math.round((from - voice.track.start_seconds) * rate));
    const end = Math.round((until - voice.track.start_seconds) * rate);
    if (end <= begin) return undefined;
    const samples = await voice.wav.read(begin, end - begin, signal);
    const length = Math.floor(samples.length / channels);
    if (length === 0) return undefined;
    const buffer = this.context.createBuffer(channels, length, rate);
    for (let channel = 0; channel < channels; channel += 1) {
      const values = buffer.getChannelData(channel);
      for (let i = 0; i < length; i += 1) values[i] = (samples[i * channels + channel] ?? 0) / 32_768;
    }
    return { buffer, voice, offset: Math.max(0, voice.track.start_seconds - from) };
  }

  private schedule(buffer: AudioBuffer, voice: Voice, when: number): void {
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.playbackRate.value = this.rate;
    source.connect(voice.gain);
    source.onended = () => this.sources.delete(source);
    source.start(Math.max(0, when));
    this.sources.add(source);
  }
}
