/** Runs on the audio thread: the microphone's first channel, resampled and cut into frames. */
import { FRAME, RATE } from "./units";
import { Resampler, toInt16 } from "./resample";

declare const sampleRate: number;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

class Capture extends AudioWorkletProcessor {
  private readonly resampler = new Resampler(sampleRate, RATE);
  private frame = new Int16Array(FRAME);
  private filled = 0;

  process(inputs: Float32Array[][]): boolean {
    const channel = inputs[0]?.[0];
    if (channel) this.take(toInt16(this.resampler.push(channel)));
    return true;
  }

  private take(samples: Int16Array): void {
    for (const sample of samples) {
      this.frame[this.filled++] = sample;
      if (this.filled === FRAME) this.send();
    }
  }

  private send(): void {
    this.port.postMessage(this.frame, [this.frame.buffer]);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
  }
}

registerProcessor("capture", Capture);
