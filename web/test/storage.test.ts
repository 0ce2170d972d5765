import assert from "node:assert/strict";
import { test } from "node:test";
import type { StoreStatus } from "../src/api";
import { inOneLine, moodOf, remaining, room, whereabouts } from "../src/storage/words";

const NOON = new Date(2025, 0, 2, 12, 30).getTime();

function status(recordings = 0, awaySince?: number): StoreStatus {
  return {
    kind: "s3",
    place: "s3://bucket",
    remote: true,
    health: {
      up: awaySince === undefined,
      last_success_at: null,
      last_failure_at: null,
      last_failure: null,
      away_since: awaySince === undefined ? null : new Date(awaySince).toISOString(),
    },
    backlog: { recordings, bytes: 41e6, oldest_seconds: null, outage_seconds: null, draining_bytes_per_second: 0 },
    spool: { bytes: 41e6, room_bytes: 12e9, room_hours: null },
  };
}

test("the store and what waits for it is told in one line", () => {
  const told = (recordings: number, awaySince?: number) => inOneLine(status(recordings, awaySince), NOON);
  assert.equal(told(0), "All recordings are in the store");
  assert.equal(told(1), "1 recording, 41 MB on its way to the store");
  assert.equal(told(1_200), "1,200 recordings, 41 MB on their way to the store");
  const earlier = NOON - 26 * 60_000;
  assert.match(told(3, earlier), /^3 recordings, 41 MB wait for the store, away since 12:04\sPM$/);
  assert.match(told(1, earlier), /^1 recording, 41 MB waits for the store, /);
  assert.match(told(0, earlier), /^The store has been away since 12:04\sPM, and nothing waits for it$/);
  assert.match(told(3, NOON - 24 * 3_600_000), /Jan 1, 2025/, "of another day, with its date");
});

test("a store that answers and takes nothing is away as well", () => {
  const refusing = status(2);
  refusing.backlog.outage_seconds = 1_560;
  assert.equal(moodOf(refusing), "away");
  assert.match(inOneLine(refusing, NOON), /away since 12:04\sPM/);
});

test("how long it takes and how much more fits are told in the unit that matters", () => {
  const moving = status(2);
  assert.equal(remaining(moving), undefined, "it stands still");
  moving.backlog.draining_bytes_per_second = 1e6;
  assert.equal(remaining(moving), "1.0 MB a second, done in about 41 seconds");
  moving.health.up = false;
  assert.equal(remaining(moving), undefined, "what went out in the last minute says nothing of the next");
  assert.equal(room(moving), "12 GB");
  moving.spool.room_hours = 21.4;
  assert.equal(room(moving), "12 GB, 21 hours of the calls that go on now");
});

test("where a recording's bytes are", () => {
  const told = (spool: number, shipped: number, published: number) => whereabouts({ spool, shipped, published });
  assert.equal(told(0, 0, 9), "In the store");
  assert.equal(told(0, 0, 0), "");
  assert.equal(told(3.4e6, 0, 0), "3.4 MB on this machine");
  assert.equal(told(3.4e6, 2.1e6, 0), "3.4 MB on this machine, 2.1 MB safe in the store as well");
  assert.equal(told(3.4e6, 3.5e6, 0), "3.4 MB on this machine, all of it safe in the store as well");
});
