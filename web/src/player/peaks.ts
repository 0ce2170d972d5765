/** A track's outline: from the server's peaks where it has them, else from the samples themselves. */
import { type Details, type Track, Refused, isLive, request } from "../api";
import { RangedWav, isLinear, lengthOf, soundUrl } from "./sound";

/** Columns that an outline has at most: more than any screen shows. */
const COLUMNS = 3_000;
/** Samples read at a time, and of a recording at most: half an hour at 16 kHz. */
const PIECE = 1 << 19;
const LONGEST = 29_000_000;

export interface Outline {
  /** Loudest sample of each column, 0 to 1. */
  peaks: Float32Array;
  /** Seconds that they cover. */
  seconds: number;
}

/** BBC audiowaveform, version 2. */
interface Audiowaveform {
  channels: number;
  sample_rate: number;
  samples_per_pixel: number;
  bits: number;
  length: number;
  data: number[];
}

/** Draws a track's outline, and goes on with it while the recording is live. */
export class OutlineReader {
  private readonly abort = new AbortController();
  private readonly wav: RangedWav;
  private peaks: number[] = [];
  private perColumn = 0;
  private read = 0;
  private busy = false;
  /** There was more to draw while the last was drawn. */
  private waiting = false;
  private told = false;

  constructor(
    private recording: Details,
    private track: Track,
    private readonly drawn: (outline: Outline) => void,
  ) {
    this.wav = new RangedWav(soundUrl(recording, track));
  }

  /** There may be more: the recording has grown, or has ended. */
  async update(recording: Details, track: Track): Promise<void> {
    [this.recording, this.track] = [recording, track];
    this.waiting = true;
    if (this.busy) return;
    this.busy = true;
    while (this.waiting && !this.told) {
      this.waiting = false;
      try {
        await this.outline();
      } catch (error) {
        // No outline is no harm: the lane stays flat, and plays.
        if (!(error instanceof Refused) && !this.abort.signal.aborted) console.warn(error);
      }
    }
    this.busy = false;
  }

  close(): void {
    this.abort.abort();
  }

  private async outline(): Promise<void> {
    const live = isLive(this.recording);
    if (await this.fromServer()) this.told = !live;
    else if (isLinear(this.track)) await this.fromSamples();
  }

  private async fromServer(): Promise<boolean> {
    const samples = Math.max(64, Math.ceil(this.track.samples / COLUMNS));
    const query = new URLSearchParams({ track: this.track.id, samples_per_pixel: String(samples), format: "json" });
    try {
      const answer = await request(`/api/v1/recordings/${this.recording.id}/peaks?${query}`, { signal: this.abort.signal });
      const wave = (await answer.json()) as Audiowaveform;
      this.drawn({ peaks: columnsOf(wave), seconds: (wave.length * wave.samples_per_pixel) / wave.sample_rate });
      return true;
    } catch (error) {
      if (error instanceof Refused) return false;
      throw error;
    }
  }

  /** Reads on from where it stopped. */
  private async fromSamples(): Promise<void> {
    if (this.track.samples > LONGEST) return;
    const { rate, channels } = await this.wav.format();
    this.perColumn ||= Math.max(Math.round(rate / 100), Math.ceil((this.track.samples * rate) / this.track.rate / COLUMNS));
    while (!this.abort.signal.aborted) {
      const whole = Math.max(1, Math.floor(PIECE / this.perColumn)) * this.perColumn;
      const samples = await this.wav.read(this.read, whole, this.abort.signal);
      const columns = Math.floor(samples.length / channels / this.perColumn);
      if (columns === 0) break;
      this.add(samples, columns, this.perColumn * channels);
      this.read += columns * this.perColumn;
      const short = columns * this.perColumn < whole;
      this.thin();
      this.drawn({ peaks: Float32Array.from(this.peaks), seconds: this.read / rate });
      if (short) break;
    }
    this.told = !isLive(this.recording) && this.read / rate > lengthOf(this.track) - 0.1;
  }

  private add(samples: Int16Array, columns: number, width: number): void {
    for (let column = 0; column < columns; column += 1) {
      let peak = 0;
      for (let i = column * width; i < (column + 1) * width; i += 1) peak = Math.max(peak, Math.abs(samples[i] ?? 0));
      this.peaks.push(peak / 32_768);
    }
  }

  /** Twice as coarse, once there are too many columns. */
  private thin(): void {
    if (this.peaks.length < 2 * COLUMNS) return;
    const [half, odd] = [Math.floor(this.peaks.length / 2), this.peaks.length % 2];
    this.peaks = Array.from({ length: half }, (_, i) => Math.max(this.peaks[2 * i] ?? 0, this.peaks[2 * i + 1] ?? 0));
    this.read -= odd * this.perColumn;
    this.perColumn *= 2;
  }
}

/** The louder of minimum and maximum, over all channels. */
export function columnsOf(wave: Audiowaveform): Float32Array {
  const full = wave.bits === 8 ? 128 : 32_768;
  const width = 2 * wave.channels;
  return Float32Array.from({ length: wave.length }, (_, column) => {
    let peak = 0;
    for (let i = column * width; i < (column + 1) * width; i += 1) peak = Math.max(peak, Math.abs(wave.data[i] ?? 0));
    return Math.min(1, peak / full);
  });
}
