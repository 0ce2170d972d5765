/** How times, lengths and sizes are written. */

// Made once: a list asks for dozens of times with each frame that it scrolls.
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const DATE = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const MOMENT = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

/** `0:07`, `12:34`, `1:02:03`; with a tenth of a second where asked. */
export function clock(seconds: number, tenths = false): string {
  const total = Math.max(0, tenths ? Math.floor(seconds * 10) / 10 : Math.floor(seconds));
  const whole = Math.floor(total);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const text = h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
  return tenths ? `${text}.${Math.round((total - whole) * 10)}` : text;
}

function pad(number: number): string {
  return String(number).padStart(2, "0");
}

/** For ears: `1 minute 5 seconds`. */
export function spoken(seconds: number): string {
  const whole = Math.floor(Math.max(0, seconds));
  const parts: [number, string][] = [
    [Math.floor(whole / 3600), "hour"],
    [Math.floor(whole / 60) % 60, "minute"],
    [whole % 60, "second"],
  ];
  const said = parts.filter(([count]) => count).map(([count, unit]) => plural(count, unit));
  return said.join(" ") || "0 seconds";
}

export function plural(count: number, unit: string): string {
  return `${count.toLocaleString("en")} ${unit}${count === 1 ? "" : "s"}`;
}

/** `812 B`, `2.4 MB`, in powers of 1000. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${count < 10 && unit ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

/** `just now`, `5 minutes ago`, `yesterday`, then the date. */
export function ago(time: string, now = Date.now()): string {
  const seconds = (now - Date.parse(time)) / 1000;
  if (seconds < 60) return "just now";
  if (seconds < 3600) return RELATIVE.format(-Math.floor(seconds / 60), "minute");
  if (seconds < 86_400) return RELATIVE.format(-Math.floor(seconds / 3600), "hour");
  if (seconds < 7 * 86_400) return RELATIVE.format(-Math.floor(seconds / 86_400), "day");
  return DATE.format(new Date(time));
}

/** Date and time in full. */
export function moment(time: string): string {
  return MOMENT.format(new Date(time));
}

const UUID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** A call's name; one that nobody named is called by its time. */
export function callName(recording: { call_id: string; created_at: string }): string {
  if (!UUID.test(recording.call_id)) return recording.call_id;
  const time = new Date(recording.created_at);
  const year = time.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  return time.toLocaleString("en", { day: "numeric", month: "short", year, hour: "numeric", minute: "2-digit" });
}

const REASONS: Record<string, string> = {
  loss: "Lost on the network",
  discarded: "Discarded",
  paused: "Paused",
  overflow: "The disk could not keep up",
  disconnected: "Disconnected",
  silent_source: "The source sent nothing",
};

/** Why audio is missing, in words. */
export function gapReason(reason: string | undefined): string {
  return REASONS[reason ?? ""] ?? reason ?? "Missing";
}
