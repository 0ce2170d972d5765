// A recording of several speakers, by the segments API's document alone: fetch and nothing else. Prints what it was told
// as JSON. Each answer of a status that may pass is tried again; `flaky` says how often a segment is given up and begun
// anew.
import { setTimeout as sleep } from "node:timers/promises";

/** What comes on stdin; times in Unix ms, `wav` in base64. */
interface Input {
  url: string;
  key?: string;
  session: string;
  begin: string;
  speakers: { userId: string; username: string; segments: { start: number; end: number; wav: string }[] }[];
  parallel?: number;
  flaky?: number;
}

/** `POST /api/recordings/init-live` */
interface InitLive {
  sessionId: string;
  platformSessionId?: string;
  guildId: string;
  guildName: string;
  channelId: string;
  userId: string;
  recordedAt: string;
}

/** `POST /api/recordings/{id}/segment-upload-url`; times in Unix ms, the duration in ms. */
interface Segment {
  userId: string;
  username: string;
  segmentIndex: number;
  fileName: string;
  fileSize: number;
  absoluteStartTime: number;
  absoluteEndTime: number;
  duration: number;
  format: "wav" | "flac" | "ogg";
}

interface SentSegment extends Segment {
  filePath: string;
  blobUrl: string;
}

/** `POST /api/recordings/{id}/finalize` */
interface Finalize {
  sessionEndTime: number;
  duration: number;
  totalSize: number;
  participantCount: number;
  segments: SentSegment[];
}

/** What an answer looks like. It is looked at as it comes, so that the types below are true of what came. */
type Shape = "string" | "number" | "boolean" | readonly [Shape] | { readonly [name: string]: Shape };
type Of<S> = S extends "string"
  ? string
  : S extends "number"
    ? number
    : S extends "boolean"
      ? boolean
      : S extends readonly [infer Item]
        ? Of<Item>[]
        : { [Name in keyof S]: Of<S[Name]> };

const LIVE = { recordingId: "string", status: "string" } as const;
const PLACE = { uploadUrl: "string", blobPath: "string" } as const;
const ACTIVE = {
  found: "boolean",
  recordingId: "string",
  sessionId: "string",
  status: "string",
  startedAt: "string",
  participantCount: "number",
  createdAt: "string",
} as const;
const FINALIZED = {
  recording: {
    id: "string",
    sessionId: "string",
    status: "string",
    duration: "number",
    participantCount: "number",
    segmentCount: "number",
    totalSize: "number",
    downloadUrls: { audio: ["string"] },
    estimatedProcessingTime: "number",
  },
} as const;

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/** Where a value is not as the document says; nothing where it is. */
function oddity(shape: Shape, value: unknown, place: string): string | undefined {
  if (typeof shape === "string") return typeof value === shape ? undefined : `${place} is no ${shape}`;
  if (!isObject(value)) return `${place} is missing`;
  const told = Object.entries(value);
  if (shape instanceof Array) {
    if (!(value instanceof Array)) return `${place} is no list`;
    return told.map(([index, item]) => oddity(shape[0], item, `${place}[${index}]`)).find(Boolean);
  }
  return Object.entries(shape).map(([name, of]) => oddity(of, value[name], `${place}.${name}`)).find(Boolean);
}

function checked<S extends Shape>(shape: S, value: unknown, call: string): Of<S> {
  const odd = oddity(shape, value, "answer");
  if (odd) throw new Error(`${call}: ${odd}: ${JSON.stringify(value)}`);
  return value as Of<S>;
}

const input: Input = JSON.parse(await new Response(process.stdin).text());
const { url, key, session, begin: recordedAt, speakers, parallel = 5, flaky = 0 } = input;

async function api<S extends Shape>(shape: S, method: "GET" | "POST", path: string, body?: object): Promise<Of<S>> {
  const headers = { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) };
  for (let attempt = 1; ; attempt++) {
    const answer = await fetch(`${url}${path}`, { method, headers, body: body && JSON.stringify(body) });
    const json: unknown = await answer.json();
    if (answer.ok) return checked(shape, isObject(json) && isObject(json.data) ? json.data : json, path);
    if (attempt === 5 || (answer.status < 500 && answer.status !== 429)) {
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(json)}`);
    }
    await sleep(1000 * Number(answer.headers.get("retry-after") ?? 1));
  }
}

/** Puts a file; where it is from now on. */
async function put(uploadUrl: string, body: Uint8Array): Promise<string> {
  const headers = { "content-type": "audio/wav", "x-ms-blob-type": "BlockBlob" };
  const answer = await fetch(uploadUrl, { method: "PUT", headers, body });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`PUT: ${answer.status} ${text}`);
  const [bare] = uploadUrl.split("?") as [string];
  if (!answer.headers.get("content-type")?.includes("json")) return bare;
  const json: unknown = JSON.parse(text);
  const named = isObject(json) ? (json.url ?? json.blobUrl) : undefined;
  return typeof named === "string" ? named : bare;
}

const opening: InitLive = {
  sessionId: session,
  platformSessionId: `platform-${session}`,
  guildId: "guild",
  guildName: "Guild",
  channelId: "channel",
  userId: "starter",
  recordedAt: new Date(recordedAt).toISOString(),
};
const { recordingId } = await api(LIVE, "POST", "/api/recordings/init-live", opening);

let given = flaky;
async function upload(segment: Segment, bytes: Uint8Array): Promise<SentSegment> {
  for (let attempt = 1; ; attempt++) {
    const path = `/api/recordings/${recordingId}/segment-upload-url`;
    const { uploadUrl, blobPath } = await api(PLACE, "POST", path, segment);
    try {
      if (given-- > 0) await put(`${uploadUrl}0`, bytes);
      return { ...segment, filePath: blobPath, blobUrl: await put(uploadUrl, bytes) };
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}

const waiting = speakers.flatMap(({ userId, username, segments }) =>
  segments.map(({ start, end, wav }, segmentIndex): [Segment, Uint8Array] => {
    const bytes = Buffer.from(wav, "base64");
    const fileName = `segment_${String(segmentIndex).padStart(3, "0")}.wav`;
    const times = { absoluteStartTime: start, absoluteEndTime: end, duration: end - start };
    return [{ userId, username, segmentIndex, fileName, fileSize: bytes.length, format: "wav", ...times }, bytes];
  }),
);
waiting.sort(([one], [other]) => one.absoluteEndTime - other.absoluteEndTime);
const sent: SentSegment[] = [];
const worker = async (): Promise<void> => {
  for (let next = waiting.shift(); next; next = waiting.shift()) sent.push(await upload(...next));
};
await Promise.all(Array.from({ length: parallel }, worker));

const active = await api(ACTIVE, "GET", "/api/recordings/active?guildId=guild&channelId=channel");
const begin = Math.min(...sent.map((segment) => segment.absoluteStartTime));
const end = Math.max(...sent.map((segment) => segment.absoluteEndTime));
const summary: Finalize = {
  sessionEndTime: end,
  duration: end - begin,
  totalSize: sent.reduce((sum, segment) => sum + segment.fileSize, 0),
  participantCount: speakers.length,
  segments: sent,
};
const { recording } = await api(FINALIZED, "POST", `/api/recordings/${recordingId}/finalize`, summary);
console.log(JSON.stringify({ recordingId, active, recording, sent }));
