/** The server's API as the page uses it: shapes, requests, and its sentences where it refuses. */
import { shutOut } from "./access";

/** A stretch of a track on the recording's clock, in seconds. */
export interface Stretch {
  track_id: string;
  start_seconds: number;
  duration_seconds: number;
  reason?: string;
}

/** A named moment on the recording's clock, in seconds. */
export interface Mark {
  track_id: string;
  at_seconds: number;
  name: string;
}

/** One participant's media stream; `samples` per channel at `rate`, from `start_seconds` on. */
export interface Track {
  id: string;
  participant: string;
  codec: string;
  rate: number;
  channels: number;
  start_seconds: number;
  samples: number;
}

export type Status = "in_progress" | "completed" | "failed";

/** Bytes of a recording: of its logs on the server's disk, of these in the store as well, and of its files in the store. */
export interface Bytes {
  spool: number;
  shipped: number;
  published: number;
}

/** A recording as lists show it. */
export interface Recording {
  id: string;
  call_id: string;
  created_at: string;
  duration_seconds: number;
  state: string;
  status: Status;
  reason?: string;
  started_at: string | null;
  size_bytes: number | null;
  mime_type: string | null;
  participants?: string[];
  /** In lists only of those that are not in the store. */
  bytes?: Bytes;
}

/** A recording with everything that is known of it. */
export interface Details extends Recording {
  tracks: Track[];
  gaps: Stretch[];
  pauses: Stretch[];
  marks: Mark[];
}

export interface Page {
  items: Recording[];
  page: number;
  page_size: number;
  total: number;
}

/** The store, and what waits for it. */
export interface StoreStatus {
  kind: string;
  place: string;
  /** Whether losing the server's machine leaves it. */
  remote: boolean;
  health: {
    up: boolean;
    last_success_at: string | null;
    last_failure_at: string | null;
    last_failure: string | null;
    away_since: string | null;
  };
  backlog: {
    recordings: number;
    bytes: number;
    oldest_seconds: number | null;
    outage_seconds: number | null;
    draining_bytes_per_second: number;
  };
  spool: { bytes: number; room_bytes: number; room_hours: number | null };
}

/** A refusal in the server's own words, or ours where there is no server. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const UNREACHABLE = "The server cannot be reached. Is it still running?";

/** A request to the server; everything but success is a `Refused`. */
export async function request(path: string, options: RequestInit = {}): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Refused(0, UNREACHABLE);
  }
  if (answer.ok) return answer;
  if (answer.status === 401) shutOut();
  throw new Refused(answer.status, await sentence(answer));
}

async function sentence(answer: Response): Promise<string> {
  const problem = await answer.json().catch(() => undefined);
  return typeof problem?.detail === "string" ? problem.detail : `The server answered ${answer.status}.`;
}

/** One page of recordings, newest first. */
export async function list(query: Record<string, string>, signal?: AbortSignal): Promise<Page> {
  const given = Object.entries(query).filter(([, value]) => value !== "");
  return (await request(`/api/v1/recordings/?${new URLSearchParams(given)}`, { signal })).json();
}

export async function details(id: string, signal?: AbortSignal): Promise<Details> {
  return (await request(`/api/v1/recordings/${id}`, { signal })).json();
}

export async function storeStatus(signal?: AbortSignal): Promise<StoreStatus> {
  return (await request("/api/v1/store", { signal })).json();
}

/** Deletes a recording; `leaving` lets the request outlive the page. */
export async function remove(id: string, leaving = false): Promise<void> {
  await request(`/api/v1/recordings/${id}`, { method: "DELETE", keepalive: leaving });
}

/** Where a recording's sound is. */
export function streamUrl(id: string, query: Record<string, string>): string {
  return `/api/v1/recordings/${id}/stream?${new URLSearchParams(query)}`;
}

/** Whether more is still being recorded. */
export function isLive(recording: Recording): boolean {
  return recording.status === "in_progress";
}
