/** Recordings that have ended, newest first, in pages that are fetched as they come into view. */
import { type Recording, list } from "../api";

export const PAGE = 100;
/** Pages that are kept; those longest out of view go. */
const KEPT = 30;

export class Pages {
  /** `undefined` until the first answer. */
  total?: number;
  error?: Error;
  private readonly pages = new Map<number, Recording[]>();
  private readonly asked = new Set<number>();
  private readonly abort = new AbortController();

  constructor(
    private readonly search: string,
    private readonly changed: () => void,
  ) {}

  /** The recording at a place of the list, if it is here. */
  at(index: number): Recording | undefined {
    return this.pages.get(Math.floor(index / PAGE) + 1)?.[index % PAGE];
  }

  /** Sees to it that these places are here. */
  need(first: number, last: number): void {
    for (let page = Math.floor(first / PAGE) + 1; page <= Math.floor(last / PAGE) + 1; page += 1) {
      if (!this.pages.has(page)) void this.fetch(page);
    }
  }

  /** Looks whether the list has changed; if so, all of it is asked for anew, page by page. */
  async refresh(): Promise<void> {
    const [before, first] = [this.total, this.at(0)?.id];
    await this.fetch(1);
    if (this.total === before && this.at(0)?.id === first) return;
    const newest = this.pages.get(1);
    this.pages.clear();
    if (newest) this.pages.set(1, newest);
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
    this.pages.delete(page);
    this.pages.set(page, items);
    const oldest = this.pages.keys().next().value;
    if (this.pages.size > KEPT && oldest !== undefined) this.pages.delete(oldest);
  }
}
