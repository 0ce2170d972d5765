/** The loudest sample of each 60 ms of the last while, for the strip that is drawn while recording. */

/** Frames that one column stands for. */
const FRAMES = 3;
/** Columns that are kept. */
const COLUMNS = 1024;
/** Samples of a column. */
export const COLUMN = FRAMES * 320;

export class History {
  private readonly peaks = new Float32Array(COLUMNS);
  private readonly pauses = new Uint8Array(COLUMNS);
  private frames = 0;
  /** The newest frame's peak, 0 to 1. */
  level = 0;

  push(samples: Int16Array, paused: boolean): void {
    let peak = 0;
    for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
    this.level = peak / 32_768;
    const slot = this.columns % COLUMNS;
    this.peaks[slot] = this.frames % FRAMES ? Math.max(this.peaks[slot] ?? 0, this.level) : this.level;
    this.pauses[slot] = paused ? 1 : 0;
    this.frames += 1;
  }

  /** Columns so far, the newest perhaps unfinished. */
  get columns(): number {
    return Math.floor(this.frames / FRAMES);
  }

  peak(column: number): number {
    return this.peaks[column % COLUMNS] ?? 0;
  }

  paused(column: number): boolean {
    return this.pauses[column % COLUMNS] === 1;
  }

  has(column: number): boolean {
    return column >= 0 && column <= this.columns && column > this.columns - COLUMNS;
  }
}
