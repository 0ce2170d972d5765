/** What plays: one clock for all tracks, each with its own gain. Two kinds: `ElementTransport` for what is complete,
 * `RangeTransport` for what is still being recorded. */
import type { Details } from "../api";

export interface Transport {
  readonly playing: boolean;
  /** Seconds on the recording's clock. */
  readonly time: number;
  play(): Promise<void>;
  pause(): void;
  seek(seconds: number): void;
  setRate(rate: number): void;
  /** Which tracks are heard. */
  setAudible(tracks: ReadonlySet<string>): void;
  /** The recording has grown. */
  update(recording: Details): void;
  close(): void;
}

export interface TransportEvents {
  /** It began or ceased to play by itself. */
  changed(): void;
  failed(message: string): void;
}
