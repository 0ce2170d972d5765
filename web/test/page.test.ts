import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, bytes, callName, clock, spoken } from "../src/format";
import { columnsOf } from "../src/player/peaks";
import { coloursOf, heights, stretch } from "../src/player/voices";
import { parse } from "../src/route";

test("places of the page are read from behind the hash", () => {
  assert.deepEqual(parse(""), { view: "library" });
  assert.deepEqual(parse("#/record"), { view: "record" });
  assert.deepEqual(parse("#/r/ab-1?t=12.5"), { view: "player", id: "ab-1", at: 12.5 });
  assert.deepEqual(parse("#/r/ab-1"), { view: "player", id: "ab-1", at: undefined });
  assert.deepEqual(parse("#/r/%E0%A4%A?t=-1"), { view: "player", id: "%E0%A4%A", at: undefined });
  assert.deepEqual(parse("#/"), { view: "library" });
  for (const path of ["/r/a/b", "/bogus", "/record/er"]) assert.deepEqual(parse(`#${path}`), { view: "nowhere", path });
});

test("times are written as on a recorder, and as they are said", () => {
  assert.deepEqual([0, 7.99, 75, 3_723].map((each) => clock(each)), ["0:00", "0:07", "1:15", "1:02:03"]);
  assert.deepEqual([0, 59.99, 61.24].map((each) => clock(each, true)), ["0:00.0", "0:59.9", "1:01.2"]);
  assert.equal(clock(-1), "0:00");
  assert.equal(spoken(3_661), "1 hour 1 minute 1 second");
  assert.equal(spoken(0.4), "0 seconds");
});

test("sizes and ages are rounded to what one needs", () => {
  assert.deepEqual([0, 999, 1_000, 2_387_144, 12e9].map(bytes), ["0 B", "999 B", "1.0 kB", "2.4 MB", "12 GB"]);
  const now = Date.parse("2026-01-10T12:00:00Z");
  assert.equal(ago("2026-01-10T11:59:30Z", now), "just now");
  assert.equal(ago("2026-01-10T11:00:00Z", now), "1 hour ago");
  assert.equal(ago("2026-01-09T11:00:00Z", now), "yesterday");
  assert.equal(ago("2025-12-01T11:00:00Z", now), "Dec 1, 2025");
});

test("a call that nobody named is called by its time", () => {
  const created_at = "2026-01-10T12:00:00Z";
  assert.equal(callName({ call_id: "support-4711", created_at }), "support-4711");
  assert.match(callName({ call_id: "01a1ff7e-a085-762b-94a7-acc144a74d20", created_at }), /^Jan 10/);
});

test("the louder side of each column counts, over all channels", () => {
  const wave = { channels: 2, sample_rate: 8_000, samples_per_pixel: 64, bits: 8, length: 2, data: [-64, 10, 0, 32, 0, 0, -128, 5] };
  assert.deepEqual([...columnsOf(wave)], [0.5, 1]);
});

test("each speaker has a colour, and keeps it over all of their tracks", () => {
  const tracks = ["anna", "ben", "anna", "", ""].map((participant, id) => ({ id: `t${id}`, participant }));
  assert.deepEqual([...coloursOf(tracks).values()], ["voice-1", "voice-2", "voice-1", "voice-3", "voice-4"]);
  const many = Array.from({ length: 7 }, (_, id) => ({ id: `t${id}`, participant: `speaker ${id}` }));
  assert.equal(coloursOf(many).get("t6"), "voice-1");
});

test("the loudest fills its lane, the soft is seen, and noise is not blown up", () => {
  const [soft = 0, loud = 0] = heights(Float32Array.of(0.01, 0.25));
  assert.equal(loud * stretch(loud), 1);
  assert.ok(soft * stretch(loud) > 0.15 && soft < loud);
  assert.ok(0.01 * stretch(0.01) < 0.05);
  assert.equal(stretch(0), 1);
});
