/**
 * What was recorded here and is not yet acknowledged, in order: audio, and the text messages between it.
 *
 * Positions are samples since the recording began. What the server does not confirm is sent again after a lost
 * connection, from where the server says; the oldest audio goes only where there is no more room.
 */

type Item = { at: number; audio: Int16Array } | { at: number; text: string };

export type Message = Int16Array | string;

export class Outbox {
  private items: Item[] = [];
  /** Index of the item that goes out next. */
  private next = 0;
  /** Samples recorded so far. */
  end = 0;
  /** Everything before this is safe. */
  acknowledged = 0;
  /** Samples that had to go unsent, since there was no more room. */
  lost = 0;

  /** `room`: the most samples to keep. */
  constructor(private readonly room: number) {}

  /** The first sample that is still here. */
  get start(): number {
    const first = this.items.find((item) => "audio" in item);
    return first ? first.at : this.end;
  }

  push(audio: Int16Array): void {
    this.items.push({ at: this.end, audio });
    this.end += audio.length;
    while (this.end - this.start > this.room) this.dropOldest();
  }

  /** A text message that belongs before the next sample. */
  say(text: string): void {
    this.items.push({ at: this.end, text });
  }

  /** The server has everything before `position` on its disk. */
  acknowledge(position: number): void {
    this.acknowledged = Math.max(this.acknowledged, position);
    const open = this.items.findIndex((item) => !isDone(item, this.acknowledged));
    this.forget(open < 0 ? this.items.length : open);
  }

  /** Goes back (or on) to `position`: what the server wants next. */
  rewind(position: number): void {
    const first = this.items.findIndex((item) => !isDone(item, position));
    this.next = first < 0 ? this.items.length : first;
    const item = this.items[this.next];
    if (!item || !("audio" in item) || item.at >= position) return;
    // What lies before it stays: another crash may ask for it.
    const [before, after] = [item.audio.subarray(0, position - item.at), item.audio.subarray(position - item.at)];
    this.items.splice(this.next, 1, { at: item.at, audio: before }, { at: position, audio: after });
    this.next += 1;
  }

  /** The next message to send, or nothing. */
  take(): Message | undefined {
    const item = this.items[this.next];
    if (!item) return undefined;
    this.next += 1;
    return "audio" in item ? item.audio : item.text;
  }

  /** Whether everything was handed out. */
  get drained(): boolean {
    return this.next >= this.items.length;
  }

  /** All audio that is still here, for a file. */
  rest(): Int16Array[] {
    return this.items.flatMap((item) => ("audio" in item ? [item.audio] : []));
  }

  private dropOldest(): void {
    const index = this.items.findIndex((item) => "audio" in item);
    const [item] = this.items.splice(index, 1);
    if (item && "audio" in item) this.lost += item.audio.length;
    if (index < this.next) this.next -= 1;
  }

  private forget(count: number): void {
    this.items.splice(0, count);
    this.next = Math.max(0, this.next - count);
  }
}

/** Whether the server has it, when it has every sample before `position`: a text, once a later sample is there. */
function isDone(item: Item, position: number): boolean {
  return "audio" in item ? item.at + item.audio.length <= position : item.at < position;
}
