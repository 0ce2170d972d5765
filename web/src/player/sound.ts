/** Where the sound of a track is, and how its linear samples are reached by byte range. */
import { type Details, type Track, Refused, isLive, streamUrl } from "../api";

/** Whether the server gives this track as linear 16-bit WAV: only that can be cut at any byte. */
export function isLinear(track: Track): boolean {
  return ["s16le", "mulaw", "alaw"].includes(track.codec);
}

/** Whether the sound is kept in a format of its own, out of which no other is made. */
function isEncoded(recording: Details): boolean {
  const [track, another] = recording.tracks;
  return !isLive(recording) && track !== undefined && !another && isLinear(track) && recording.mime_type !== "audio/wav";
}

/** A file that browsers play. */
export function soundUrl(recording: Details, track: Track): string {
  const query: Record<string, string> = { track: track.id };
  if (isEncoded(recording)) return streamUrl(recording.id, query);
  if (isLinear(track)) query.format = "wav";
  if (track.codec === "mulaw" || track.codec === "alaw") query.decode = "1";
  return streamUrl(recording.id, query);
}

/** Seconds of a track. */
export function lengthOf(track: Track): number {
  return track.samples / track.rate;
}

export function endOf(track: Track): number {
  return track.start_seconds + lengthOf(track);
}

/** A WAV on the server, which may still grow, read by ranges of samples. */
export class RangedWav {
  private head?: Promise<{ at: number; rate: number; channels: number }>;

  constructor(private readonly url: string) {}

  /** Sample rate and channels. */
  async format(): Promise<{ rate: number; channels: number }> {
    return this.open();
  }

  /** Interleaved samples of `count` sample times from `from` on; fewer, or none, where there are no more yet. */
  async read(from: number, count: number, signal?: AbortSignal): Promise<Int16Array> {
    const { at, channels } = await this.open();
    const align = 2 * channels;
    const bytes = await range(this.url, at + from * align, count * align, signal);
    return new Int16Array(bytes, 0, Math.floor(bytes.byteLength / align) * channels);
  }

  private open() {
    this.head ??= this.readHead().catch((error) => {
      this.head = undefined;
      throw error;
    });
    return this.head;
  }

  private async readHead() {
    const view = new DataView(await range(this.url, 0, 4_096));
    const word = (at: number) => String.fromCharCode(...new Uint8Array(view.buffer, at, 4));
    let [rate, channels] = [16_000, 1];
    for (let at = 12; at + 8 <= view.byteLength; at += 8 + view.getUint32(at + 4, true)) {
      if (word(at) === "data") return { at: at + 8, rate, channels };
      if (word(at) === "fmt ") [channels, rate] = [view.getUint16(at + 10, true), view.getUint32(at + 12, true)];
    }
    throw new Error("The server's WAV has no data chunk near its beginning.");
  }
}

async function range(url: string, from: number, count: number, signal?: AbortSignal): Promise<ArrayBuffer> {
  const answer = await fetch(url, { headers: { Range: `bytes=${from}-${from + count - 1}` }, signal, cache: "no-store" });
  if (answer.status === 416 || answer.status === 409) return new ArrayBuffer(0);
  if (answer.status !== 206) throw new Refused(answer.status, `The sound could not be read (${answer.status}).`);
  return answer.arrayBuffer();
}
