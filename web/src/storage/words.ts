/** Where bytes are, in words. */
import type { Bytes, StoreStatus } from "../api";
import { bytes, moment, plural, spoken } from "../format";

/** All is stored; something is on its way; the store does not answer. */
export type Mood = "stored" | "moving" | "away";

export function moodOf({ health, backlog }: StoreStatus): Mood {
  if (!health.up || backlog.outage_seconds !== null) return "away";
  return backlog.recordings ? "moving" : "stored";
}

/** The store and what waits for it, in one line. */
export function inOneLine(status: StoreStatus, now = Date.now()): string {
  const { recordings } = status.backlog;
  const mood = moodOf(status);
  if (mood === "stored") return "All recordings are in the store";
  if (mood === "moving") return `${waiting(status)} on ${recordings === 1 ? "its" : "their"} way to the store`;
  const since = `since ${timeOfDay(awaySince(status, now), now)}`;
  if (!recordings) return `The store has been away ${since}, and nothing waits for it`;
  return `${waiting(status)} ${recordings === 1 ? "waits" : "wait"} for the store, away ${since}`;
}

/** `3 recordings, 41 MB`. */
export function waiting({ backlog }: StoreStatus): string {
  return `${plural(backlog.recordings, "recording")}, ${bytes(backlog.bytes)}`;
}

function awaySince({ health, backlog }: StoreStatus, now: number): number {
  return health.away_since ? Date.parse(health.away_since) : now - 1000 * (backlog.outage_seconds ?? 0);
}

/** The time; with the date, where it is another day's. */
function timeOfDay(time: number, now: number): string {
  const date = new Date(time);
  if (date.toDateString() !== new Date(now).toDateString()) return moment(date.toISOString());
  return date.toLocaleTimeString("en", { hour: "numeric", minute: "2-digit" });
}

/** How long what waits will take at the present pace; nothing where it stands still. */
export function remaining(status: StoreStatus): string | undefined {
  const { backlog } = status;
  const pace = backlog.draining_bytes_per_second;
  if (moodOf(status) !== "moving" || pace < 1) return undefined;
  return `${bytes(pace)} a second, done in about ${roughly(backlog.bytes / pace)}`;
}

/** What more fits on this machine while the store is away. */
export function room({ spool }: StoreStatus): string {
  const hours = spool.room_hours;
  const calls = hours === null ? "" : `, ${roughly(hours * 3600)} of the calls that go on now`;
  return bytes(spool.room_bytes) + calls;
}

/** In the one unit that matters. */
function roughly(seconds: number): string {
  if (seconds < 60) return spoken(Math.max(1, Math.round(seconds)));
  if (seconds < 5_400) return plural(Math.round(seconds / 60), "minute");
  if (seconds < 48 * 3_600) return plural(Math.round(seconds / 3_600), "hour");
  return plural(Math.round(seconds / 86_400), "day");
}

/** Where a recording's bytes are. */
export function whereabouts({ spool, shipped, published }: Bytes): string {
  if (spool === 0) return published ? "In the store" : "";
  const here = `${bytes(spool)} on this machine`;
  if (shipped === 0) return here;
  return `${here}, ${shipped >= spool ? "all of it" : bytes(shipped)} safe in the store as well`;
}
