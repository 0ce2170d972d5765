import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../src/record/outbox";

const frame = (first: number, length = 4) => Int16Array.from({ length }, (_, i) => first + i);

function all(outbox: Outbox): (number[] | string)[] {
  const messages = [];
  for (let message = outbox.take(); message !== undefined; message = outbox.take()) {
    messages.push(typeof message === "string" ? message : [...message]);
  }
  return messages;
}

test("what goes out is what came in, in order, once", () => {
  const outbox = new Outbox(100);
  outbox.push(frame(0));
  outbox.say("mark");
  outbox.push(frame(4));
  assert.deepEqual(all(outbox), [[0, 1, 2, 3], "mark", [4, 5, 6, 7]]);
  assert.deepEqual(all(outbox), []);
  assert.equal(outbox.end, 8);
});

test("after a lost connection it goes on at the sample that the server asks for", () => {
  const outbox = new Outbox(100);
  outbox.push(frame(0));
  outbox.push(frame(4));
  outbox.say("pause");
  outbox.push(frame(8));
  all(outbox);
  outbox.acknowledge(4);
  outbox.rewind(6);
  assert.deepEqual(all(outbox), [[6, 7], "pause", [8, 9, 10, 11]]);
});

test("a message between samples is sent again until a later sample is there", () => {
  const outbox = new Outbox(100);
  outbox.push(frame(0));
  outbox.say("mark");
  all(outbox);
  outbox.acknowledge(4);
  outbox.rewind(4);
  assert.deepEqual(all(outbox), ["mark"]);
  outbox.push(frame(4));
  outbox.acknowledge(8);
  outbox.rewind(8);
  assert.deepEqual(all(outbox), []);
});

test("an acknowledgement within a frame keeps that frame", () => {
  const outbox = new Outbox(100);
  outbox.push(frame(0));
  outbox.push(frame(4));
  all(outbox);
  outbox.acknowledge(6);
  assert.equal(outbox.start, 4);
  outbox.rewind(5);
  assert.deepEqual(all(outbox), [[5, 6, 7]]);
});

test("without room the oldest audio goes, and is counted", () => {
  const outbox = new Outbox(8);
  outbox.push(frame(0));
  outbox.say("mark");
  outbox.push(frame(4));
  outbox.push(frame(8));
  assert.deepEqual([outbox.lost, outbox.start, outbox.end], [4, 4, 12]);
  assert.deepEqual(all(outbox), ["mark", [4, 5, 6, 7], [8, 9, 10, 11]]);
});

test("any chain of losses and acknowledgements loses nothing and doubles nothing", () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1e9);
  console.log(`seed ${seed}`);
  const chance = random(seed);
  const outbox = new Outbox(1e6);
  const server: number[] = [];
  let synced = 0;
  for (let round = 0; round < 500; round += 1) {
    outbox.push(frame(outbox.end, 1 + Math.floor(chance() * 9)));
    for (let sends = Math.floor(chance() * 4); sends > 0; sends -= 1) {
      const message = outbox.take();
      if (message instanceof Int16Array) server.push(...message);
    }
    if (chance() < 0.3) synced += Math.floor(chance() * (server.length - synced + 1));
    if (chance() < 0.3) outbox.acknowledge(synced);
    if (chance() < 0.1) {
      // A crash of the server keeps what was synced, and perhaps more.
      server.length = synced + Math.floor(chance() * (server.length - synced + 1));
      outbox.rewind(server.length);
    }
  }
  for (const message of all(outbox)) if (typeof message !== "string") server.push(...message);
  assert.deepEqual(server, Array.from({ length: outbox.end }, (_, i) => i));
});

/** Mulberry32. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
