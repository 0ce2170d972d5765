// A recording of several speakers, by the segments API's document alone: fetch and nothing else. Prints what it was told
// as JSON. Input on stdin: {url, key, session, speakers: [{userId, username, segments: [{start, end, wav: base64}]}]}.
// Each answer of a status that may pass is tried again; `flaky` says how often a segment is given up and begun anew.
import { setTimeout as sleep } from "node:timers/promises";

const input = JSON.parse(await new Response(process.stdin).text());
const { url, key, session, speakers, parallel = 5, flaky = 0 } = input;
const headers = key ? { authorization: `Bearer ${key}` } : {};

async function api(method, path, body, tries = 5) {
  for (let attempt = 1; ; attempt++) {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: { ...headers, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const json = await answer.json();
    if (answer.ok) return json.data ?? json;
    if (attempt === tries || (answer.status < 500 && answer.status !== 429)) {
      throw new Error(`${method} ${path}: ${answer.status} ${json.error}`);
    }
    await sleep(1000 * Number(answer.headers.get("retry-after") ?? 1));
  }
}

async function put(uploadUrl, bytes) {
  const answer = await fetch(uploadUrl, {
    method: "PUT",
    headers: { "content-type": "audio/wav", "x-ms-blob-type": "BlockBlob" },
    body: bytes,
  });
  if (!answer.ok) throw new Error(`PUT: ${answer.status} ${await answer.text()}`);
  const json = await answer.json().catch(() => ({}));
  return json.url ?? json.blobUrl ?? uploadUrl.split("?")[0];
}

const { recordingId } = await api("POST", "/api/recordings/init-live", {
  sessionId: session,
  platformSessionId: `platform-${session}`,
  guildId: "guild",
  guildName: "Guild",
  channelId: "channel",
  userId: "starter",
  recordedAt: new Date(input.begin).toISOString(),
});

let given = flaky;
async function upload({ bytes, ...segment }) {
  for (let attempt = 1; ; attempt++) {
    const { uploadUrl, blobPath } = await api("POST", `/api/recordings/${recordingId}/segment-upload-url`, segment);
    try {
      if (given-- > 0) await put(`${uploadUrl}0`, bytes);
      return { ...segment, filePath: blobPath, blobUrl: await put(uploadUrl, bytes) };
    } catch (error) {
      if (attempt === 3) throw error;
    }
  }
}

const waiting = speakers.flatMap(({ userId, username, segments }) =>
  segments.map(({ start, end, wav }, segmentIndex) => {
    const bytes = Buffer.from(wav, "base64");
    const fileName = `segment_${String(segmentIndex).padStart(3, "0")}.wav`;
    const times = { absoluteStartTime: start, absoluteEndTime: end, duration: end - start };
    return { userId, username, segmentIndex, fileName, fileSize: bytes.length, format: "wav", ...times, bytes };
  }),
);
waiting.sort((a, b) => a.absoluteEndTime - b.absoluteEndTime);
const sent = [];
const worker = async () => {
  for (let next = waiting.shift(); next; next = waiting.shift()) sent.push(await upload(next));
};
await Promise.all(Array.from({ length: parallel }, worker));
const active = await api("GET", "/api/recordings/active?guildId=guild&channelId=channel");
const begin = Math.min(...sent.map((segment) => segment.absoluteStartTime));
const end = Math.max(...sent.map((segment) => segment.absoluteEndTime));
const { recording } = await api("POST", `/api/recordings/${recordingId}/finalize`, {
  sessionEndTime: end,
  duration: end - begin,
  totalSize: sent.reduce((sum, segment) => sum + segment.fileSize, 0),
  participantCount: speakers.length,
  segments: sent,
});
console.log(JSON.stringify({ recordingId, active, recording, sent }));
