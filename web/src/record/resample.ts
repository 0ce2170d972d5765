/** From the sound card's rate to the wire's: a windowed-sinc low-pass, evaluated at each output sample. */

/** Zero crossings of the sinc on each side of its middle. */
const CROSSINGS = 24;
/** Positions between two input samples for which the filter is tabulated; between them it is interpolated. */
const PHASES = 512;
/** Kaiser window parameter: about 90 dB of stopband. */
const BETA = 9;
/** The passband's end, as a part of the lower Nyquist frequency. */
const ROLLOFF = 0.94;

/** Takes blocks of any length, one after the other, and gives what can be computed of the output so far. */
export class Resampler {
  private readonly step: number;
  private readonly half: number;
  private readonly table: Float32Array;
  private history: Float32Array;
  /** Position of the next output sample, in input samples from the beginning of `history`. */
  private at: number;

  constructor(from: number, to: number) {
    this.step = from / to;
    const scale = Math.min(1, to / from) * ROLLOFF;
    this.half = Math.ceil(CROSSINGS / scale);
    this.table = kernel(this.half, scale);
    // Silence before the first sample, so that the first output lies exactly on the first input.
    this.history = new Float32Array(this.half);
    this.at = this.half;
  }

  push(block: Float32Array): Float32Array {
    const input = new Float32Array(this.history.length + block.length);
    input.set(this.history);
    input.set(block, this.history.length);
    const last = input.length - this.half - 1;
    const output = new Float32Array(Math.max(0, Math.ceil((last - this.at) / this.step)));
    let count = 0;
    for (; this.at < last && count < output.length; this.at += this.step) output[count++] = this.value(input, this.at);
    const used = Math.max(0, Math.floor(this.at) - this.half);
    this.history = input.slice(used);
    this.at -= used;
    return output.subarray(0, count);
  }

  private value(input: Float32Array, at: number): number {
    const whole = Math.floor(at);
    let sum = 0;
    for (let k = 1 - this.half; k <= this.half; k += 1) {
      const place = (k - (at - whole) + this.half) * PHASES;
      const cell = Math.floor(place);
      const here = this.table[cell] ?? 0;
      sum += (input[whole + k] ?? 0) * (here + ((this.table[cell + 1] ?? 0) - here) * (place - cell));
    }
    return sum;
  }
}

function kernel(half: number, scale: number): Float32Array {
  const table = new Float32Array(2 * half * PHASES + 2);
  for (let i = 0; i < table.length; i += 1) {
    const x = i / PHASES - half;
    const window = bessel(BETA * Math.sqrt(Math.max(0, 1 - (x / half) ** 2))) / bessel(BETA);
    table[i] = scale * sinc(scale * x) * window;
  }
  return table;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Modified Bessel function of the first kind, order 0. */
function bessel(x: number): number {
  let sum = 1;
  for (let k = 1, term = 1; term > 1e-10 * sum; k += 1) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

/** Saturates to 16 bit. */
export function toInt16(samples: Float32Array): Int16Array {
  return Int16Array.from(samples, (value) => Math.round(Math.max(-1, Math.min(1, value)) * 32_767));
}
