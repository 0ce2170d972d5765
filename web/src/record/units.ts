/** Samples per second on the wire. */
export const RATE = 16_000;
/** Samples of a frame: 20 ms. */
export const FRAME = 320;
/** What is kept while the server is away, in samples: ten minutes, 19 MB. */
export const KEPT = 600 * RATE;
