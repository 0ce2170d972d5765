/** How speakers are told apart, and how loud they are drawn. */
import type { Track } from "../api";

/** Colours that there are; who comes after the last one begins again. */
const COLOURS = 6;
/** A recording of nothing but noise is not drawn as if it were speech. */
const MOST = 3;

/** The class of each track's colour, by the track's id: the same for all tracks of one participant. */
export function coloursOf(tracks: Pick<Track, "id" | "participant">[]): Map<string, string> {
  const speaker = (track: (typeof tracks)[number]) => track.participant || track.id;
  const speakers = [...new Set(tracks.map(speaker))];
  return new Map(tracks.map((track) => [track.id, `voice-${(speakers.indexOf(speaker(track)) % COLOURS) + 1}`]));
}

/** Speech lives far below full scale: the root lifts it, and keeps the order of loud and soft. */
export function heights(peaks: Float32Array): number[] {
  return Array.from(peaks, (peak) => Math.sqrt(Math.min(1, peak)));
}

/** What all lanes are stretched by, so that the loudest moment of the recording fills its lane and levels compare. */
export function stretch(highest: number): number {
  return highest > 0 ? Math.min(MOST, 1 / highest) : 1;
}
