/** A recording's details, kept fresh: while it is live the server says when there is something new. */
import { type Details, Refused, details, isLive } from "../api";

/** Milliseconds between two looks, at least: what grows is told twice a second. */
const LOOK = 1_000;
const KINDS = ["state", "track", "progress", "gap", "pause", "mark"];

export interface Found {
  recording?: Details;
  /** Why there is nothing, or nothing new. */
  error?: string;
}

export class Follower {
  private readonly abort = new AbortController();
  private source?: EventSource;
  private timer?: number;
  private looked = 0;
  private busy = false;
  /** More was told while the last look was under way. */
  private again = false;

  constructor(
    private readonly id: string,
    private readonly found: (found: Found) => void,
  ) {
    void this.look();
  }

  close(): void {
    this.abort.abort();
    this.source?.close();
    clearTimeout(this.timer);
  }

  private async look(): Promise<void> {
    this.busy = true;
    this.again = false;
    this.looked = performance.now();
    const answer = await details(this.id, this.abort.signal).catch((error: Error) => error);
    this.busy = false;
    if (answer instanceof Error) return this.failed(answer);
    this.found({ recording: answer });
    if (isLive(answer)) this.listen();
    else this.source?.close();
    if (this.again) this.soon();
  }

  private failed(error: Error): void {
    if (this.abort.signal.aborted) return;
    this.found({ error: error.message });
    // A recording that is not there will not come; a server may.
    if (!(error instanceof Refused && error.status === 404)) this.soon(2 * LOOK);
  }

  private listen(): void {
    if (this.source || this.abort.signal.aborted) return;
    const source = new EventSource(`/api/v1/recordings/${this.id}/events`);
    for (const kind of KINDS) source.addEventListener(kind, () => this.soon());
    // It ends with the recording, with the server, or at once where too many watch: then looking has to do.
    source.onerror = () => {
      source.close();
      this.source = undefined;
      this.soon();
    };
    this.source = source;
  }

  private soon(ms = LOOK): void {
    if (this.busy) this.again = true;
    if (this.busy || this.timer !== undefined || this.abort.signal.aborted) return;
    this.timer = window.setTimeout(() => {
      this.timer = undefined;
      void this.look();
    }, Math.max(0, this.looked + ms - performance.now()));
  }
}
