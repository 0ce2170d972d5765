// Vercel's own client, @vercel/blob, on a service at VERCEL_BLOB_API_URL.
//   vercel_blob.mjs exercise private|public   everything that a store does, each answer checked
//   vercel_blob.mjs read private|public       what lies in the store: { pathname: { size, contentType, base64 } }
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { connect } from "node:net";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import * as blob from "@vercel/blob";
import { Agent, setGlobalDispatcher } from "undici";

const [task, access] = process.argv.slice(2);
const api = new URL(process.env.VERCEL_BLOB_API_URL);

// Reads go to a host name of Vercel's over TLS, whatever the API's address: here they reach the same service.
setGlobalDispatcher(
  new Agent({
    connect({ hostname, port }, done) {
      const ours = hostname.endsWith(".blob.vercel-storage.com");
      const socket = connect(ours ? { host: api.hostname, port: api.port } : { host: hostname, port });
      socket.once("connect", () => done(null, socket)).once("error", (error) => done(error, null));
    },
  }),
);

const bytesOf = async (pathname, options = {}) => {
  const found = await blob.get(pathname, { access, ...options });
  return found && Buffer.from(await new Response(found.stream).arrayBuffer());
};
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");
const named = async (prefix) => (await blob.list({ prefix })).blobs.map((each) => each.pathname);

async function exercisePut() {
  const made = await blob.put("one/hello.txt", "hello", { access });
  assert.equal(made.pathname, "one/hello.txt");
  assert.equal(made.contentType, "text/plain");
  assert.equal((await bytesOf("one/hello.txt")).toString(), "hello");
  await assert.rejects(blob.put("one/hello.txt", "other", { access }), /already exists/);
  assert.equal((await bytesOf("one/hello.txt")).toString(), "hello");
  const again = await blob.put("one/hello.txt", "other", { access, allowOverwrite: true });
  assert.notEqual(again.etag, made.etag);
  assert.equal((await bytesOf("one/hello.txt")).toString(), "other");
  const suffixed = await blob.put("one/hello.txt", "more", { access, addRandomSuffix: true });
  assert.match(suffixed.pathname, /^one\/hello-.+\.txt$/);
  const odd = await blob.put("one/ä b+c?d#e%20f&g=h.wav", "odd", { access, contentType: "audio/x-mine" });
  assert.equal((await blob.head(odd.pathname)).contentType, "audio/x-mine");
  assert.equal((await blob.head(odd.url)).pathname, odd.pathname);
}

async function exerciseMultipart() {
  const bytes = randomBytes((17 << 20) + 5);
  await blob.put("parts/by put.bin", Readable.from([bytes]), { access, multipart: true });
  assert.equal(digest(await bytesOf("parts/by put.bin")), digest(bytes));
  const tail = await bytesOf("parts/by put.bin", { headers: { range: `bytes=${bytes.length - 7}-` } });
  assert.deepEqual(tail, bytes.subarray(-7));

  const name = "parts/by hand ü.bin";
  const { key, uploadId } = await blob.createMultipartUpload(name, { access });
  const part = (partNumber, from, to) =>
    blob.uploadPart(name, bytes.subarray(from, to), { access, key, uploadId, partNumber });
  const edge = 5 << 20;
  const parts = [await part(2, edge, edge + 9), await part(1, 0, edge)].reverse();
  assert.equal(await bytesOf(name), null, "nothing is visible before the end");
  await blob.completeMultipartUpload(name, parts, { access, key, uploadId });
  assert.equal(digest(await bytesOf(name)), digest(bytes.subarray(0, edge + 9)));
  await assert.rejects(part(3, 0, 1), blob.BlobNotFoundError);

  const small = await blob.createMultipartUploader("parts/small.bin", { access });
  const pieces = [await small.uploadPart(1, Buffer.from("too")), await small.uploadPart(2, Buffer.from("small"))];
  await assert.rejects(small.complete(pieces), /smaller than 5 MB/);
}

async function exerciseList() {
  for (const name of ["a", "b", "c"]) await blob.put(`list/${name}`, name, { access });
  const first = await blob.list({ prefix: "list/", limit: 2 });
  assert.deepEqual([first.blobs.map((each) => each.pathname), first.hasMore], [["list/a", "list/b"], true]);
  const rest = await blob.list({ prefix: "list/", limit: 2, cursor: first.cursor });
  assert.deepEqual([rest.blobs.map((each) => each.pathname), rest.hasMore], [["list/c"], false]);
  assert.equal(rest.blobs[0].size, 1);
  assert.ok(rest.blobs[0].uploadedAt instanceof Date && !Number.isNaN(rest.blobs[0].uploadedAt.getTime()));
}

async function exerciseTheRest() {
  const from = await blob.put("rest/from", "copied", { access });
  await blob.copy(from.url, "rest/by url", { access });
  await blob.copy("rest/from", "rest/by path", { access });
  assert.equal((await bytesOf("rest/by url")).toString(), "copied");
  assert.equal(await blob.get("rest/from", { access, ifNoneMatch: from.etag }).then((got) => got.statusCode), 304);
  await blob.del([from.url, "rest/by url", "rest/never was"]);
  assert.deepEqual(await named("rest/"), ["rest/by path"]);
  await assert.rejects(blob.head("rest/from"), blob.BlobNotFoundError);
  assert.equal(await blob.get("rest/from", { access }), null);

  const stranger = "vercel_blob_rw_teststore_wrong";
  await assert.rejects(blob.list({ token: stranger }), blob.BlobAccessError);
  const withoutToken = blob.get("rest/by path", { access, token: stranger });
  if (access === "private") await assert.rejects(withoutToken, /403/);
  else assert.equal(await text((await withoutToken).stream), "copied");
  const other = access === "private" ? "public" : "private";
  await assert.rejects(blob.put("rest/x", "x", { access: other }), new RegExp(`${other} access on a ${access} store`));
}

async function read() {
  const found = {};
  let cursor;
  do {
    const page = await blob.list({ cursor });
    for (const { pathname, size } of page.blobs) {
      const { contentType } = await blob.head(pathname);
      found[pathname] = { size, contentType, base64: (await bytesOf(pathname)).toString("base64") };
    }
    cursor = page.cursor;
  } while (cursor);
  process.stdout.write(JSON.stringify(found));
}

if (task === "read") await read();
else for (const exercise of [exercisePut, exerciseMultipart, exerciseList, exerciseTheRest]) await exercise();
