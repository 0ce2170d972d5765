import assert from "node:assert/strict";
import { test } from "node:test";
import { Resampler, toInt16 } from "../src/record/resample";

function tone(hertz: number, rate: number, seconds: number): Float32Array {
  return Float32Array.from({ length: rate * seconds }, (_, i) => 0.5 * Math.sin((2 * Math.PI * hertz * i) / rate));
}

/** As the audio thread gives it: 128 samples at a time. */
function resample(input: Float32Array, from: number, to = 16_000, block = 128): Float32Array {
  const resampler = new Resampler(from, to);
  const output: number[] = [];
  for (let at = 0; at < input.length; at += block) output.push(...resampler.push(input.subarray(at, at + block)));
  return Float32Array.from(output);
}

function decibels(ratio: number): number {
  return 20 * Math.log10(ratio);
}

for (const from of [8_000, 16_000, 44_100, 48_000, 96_000]) {
  test(`a tone from ${from} Hz stays that tone, in its place`, () => {
    const output = resample(tone(1_000, from, 1), from);
    const wanted = tone(1_000, 16_000, 1);
    assert.ok(Math.abs(output.length - 16_000) < 120, `${output.length} samples`);
    let worst = 0;
    for (let i = 400; i < output.length - 400; i += 1) worst = Math.max(worst, Math.abs((output[i] ?? 0) - (wanted[i] ?? 0)));
    assert.ok(decibels(worst / 0.5) < -60, `${decibels(worst / 0.5).toFixed(1)} dB off`);
  });
}

test("what is above half the new rate is gone, and does not come back lower", () => {
  const output = resample(tone(9_500, 48_000, 1), 48_000);
  const loudest = output.subarray(400, -400).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  assert.ok(decibels(loudest / 0.5) < -70, `${decibels(loudest / 0.5).toFixed(1)} dB`);
});

test("the length of the blocks changes nothing", () => {
  const input = tone(440, 44_100, 0.5);
  const [small, large] = [resample(input, 44_100, 16_000, 100), resample(input, 44_100, 16_000, 4_096)];
  for (let i = 0; i < Math.min(small.length, large.length); i += 1) {
    assert.ok(Math.abs((small[i] ?? 0) - (large[i] ?? 0)) < 1e-5, `sample ${i}`);
  }
});

test("a minute gives a minute: no sample is lost between blocks", () => {
  assert.ok(Math.abs(resample(new Float32Array(44_100 * 60), 44_100).length - 960_000) < 120);
});

test("too loud is saturated, not wrapped", () => {
  assert.deepEqual([...toInt16(Float32Array.of(0, 1, -1, 2, -2, 0.5))], [0, 32_767, -32_767, 32_767, -32_767, 16_384]);
});
