/** Recordings that have ended, newest first, in pages that are fetched as they come into view. */
import { type Recording, list } from "../api";

export const PAGE = 100;
/** Pages that are kept; the oldest go. */
const KEPT = 30;

export class Pages {
  /** `undefined` until the first answer. */
  total?: number;
  error?: Error;
  private readonly pages = new Map<number, Recording[]>();
  private readonly asked = new Set<number>();
  /** Pages that are shown until they are fetched anew. */
  private readonly stale = new Set<number>();
  private newest?: string;
  private readonly abort = new AbortController();

  constructor(
    readonly search: string,
    private readonly changed: () => void,
  ) {}

  /** The recording at a place of the list, if it is here. */
  at(index: number): Recording | undefined {
    return this.pages.get(Math.floor(index / PAGE) + 1)?.[index % PAGE];
  }

  /** What tells the row at a place from others, wherever it moves. While pages are fetched anew, one recording may be on two. */
  keyAt(index: number): string {
    return `${Math.floor(index / PAGE)}/${this.at(index)?.id ?? index}`;
  }

  /** Sees to it that these places are here. */
  need(first: number, last: number): void {
    for (let page = Math.floor(first / PAGE) + 1; page <= Math.floor(last / PAGE) + 1; page += 1) {
      if (!this.pages.has(page) || this.stale.has(page)) void this.fetch(page);
    }
  }

  /** Looks whether the list has changed; if so, all of it is asked for anew, page by page. */
  async refresh(): Promise<void> {
    const [total, newest] = [this.total, this.newest];
    await this.fetch(1);
    if (this.total === total && this.newest === newest) return;
    for (const page of this.pages.keys()) if (page > 1) this.stale.add(page);
    this.changed();
  }

  close(): void {
    this.abort.abort();
  }

  private async fetch(page: number): Promise<void> {
    if (this.asked.has(page)) return;
    this.asked.add(page);
    const query = { q: this.search, state: "completed,failed", page: String(page), page_size: String(PAGE) };
    try {
      const answer = await list(query, this.abort.signal);
      this.total = answer.total;
      this.error = undefined;
      this.keep(page, answer.items);
    } catch (error) {
      if (this.abort.signal.aborted) return;
      this.error = error as Error;
    } finally {
      this.asked.delete(page);
    }
    this.changed();
  }

  private keep(page: number, items: Recording[]): void {
    if (page === 1) this.newest = items[0]?.id;
    this.stale.delete(page);
    this.pages.delete(page);
    this.pages.set(page, items);
    const oldest = this.pages.keys().next().value;
    if (this.pages.size > KEPT && oldest !== undefined) this.pages.delete(oldest);
  }
}
