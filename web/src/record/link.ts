/**
 * The connection to `/v1/ingest/pcm`, as one that is never lost: it comes back by itself, asks with the token where to
 * go on, and sends from there. Where the server no longer knows the token, what it has not confirmed goes into a new
 * session of the same call.
 */
import { Outbox } from "./outbox";
import { RATE } from "./units";

export interface LinkEvents {
  /** Connected; audio goes out. */
  open(recordingId: string): void;
  /** Not connected; it will be tried again. `why` in a sentence, where the server said one. */
  lost(why?: string): void;
  /** The server has something new on its disk. */
  acknowledged(): void;
  /** Sealed: all that was sent is recorded. */
  stopped(): void;
  /** It makes no sense to go on trying. */
  refused(why: string): void;
}

interface Session {
  type: "session";
  recording_id: string;
  resume_token: string;
  resume_at: number;
}

type ServerMessage =
  | Session
  | { type: "ack" | "stopped"; samples: number }
  | { type: "error"; code: string; message: string }
  | { type: "warning"; message: string };

/** Close codes after which the same request would fare no better. */
const FATAL = new Set([1003, 1007, 1008, 1009, 4409]);
/** The server confirms each second; this long without a word, in ms, and the line is taken for dead. */
const PATIENCE = 10_000;
/** Bytes that wait in the browser before we wait as well. */
const WATER = 1 << 20;

export class Link {
  private socket?: WebSocket;
  private token?: string;
  /** The session's first sample, in the recording's count. */
  private base = 0;
  private ready = false;
  private tries = 0;
  private retry?: number;
  private watch?: number;
  private problem?: { code: string; message: string };
  private over = false;

  constructor(
    private readonly outbox: Outbox,
    private readonly names: { call: string; participant: string },
    private readonly events: LinkEvents,
  ) {}

  connect(): void {
    this.problem = undefined;
    const socket = new WebSocket(this.url(), "reeltime.v1");
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.hear(JSON.parse(event.data as string) as ServerMessage);
    socket.onclose = (event) => this.closed(socket, event);
    this.socket = socket;
    this.listenForLife();
  }

  /** Sends what is due. */
  pump(): void {
    const socket = this.socket;
    if (!socket || !this.ready || socket.readyState !== WebSocket.OPEN) return;
    while (socket.bufferedAmount < WATER) {
      const message = this.outbox.take();
      if (message === undefined) return;
      socket.send(message as string | Int16Array<ArrayBuffer>);
    }
  }

  /** Gives up: no more tries. */
  abandon(): void {
    this.over = true;
    clearTimeout(this.retry);
    clearTimeout(this.watch);
    this.socket?.close(1000);
  }

  /** Tries at once, where it waits for its next try. */
  hurry(): void {
    if (this.retry === undefined) return;
    clearTimeout(this.retry);
    this.retry = undefined;
    this.connect();
  }

  private url(): string {
    const query = new URLSearchParams({ codec: "s16le", rate: String(RATE), ack: "disk" });
    if (this.names.call) query.set("call", this.names.call);
    if (this.names.participant) query.set("participant", this.names.participant);
    if (this.token) query.set("resume_token", this.token);
    return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/ingest/pcm?${query}`;
  }

  private hear(message: ServerMessage): void {
    this.listenForLife();
    if (message.type === "session") this.begin(message);
    else if (message.type === "ack") this.confirm(message.samples);
    else if (message.type === "error") this.problem = message;
    else if (message.type === "stopped") {
      this.confirm(message.samples);
      this.over = true;
      this.events.stopped();
    }
  }

  private begin(session: Session): void {
    if (!this.token) this.base = this.outbox.start;
    this.token = session.resume_token;
    this.tries = 0;
    const wanted = this.base + session.resume_at;
    this.outbox.rewind(wanted);
    this.fill(this.outbox.start - wanted);
    this.ready = true;
    this.events.open(session.recording_id);
    this.pump();
  }

  /** Silence in place of what there was no room to keep, so that all after it stays in its place. */
  private fill(samples: number): void {
    for (let left = samples; left > 0; left -= RATE) this.socket?.send(new Int16Array(Math.min(left, RATE)));
  }

  private confirm(samples: number): void {
    this.outbox.acknowledge(this.base + samples);
    this.events.acknowledged();
    this.pump();
  }

  private closed(socket: WebSocket, event: CloseEvent): void {
    if (socket !== this.socket) return;
    clearTimeout(this.watch);
    this.socket = undefined;
    this.ready = false;
    if (this.over) return;
    if (this.problem?.code === "unknown_token") {
      this.token = undefined;
      this.connect();
    } else if (FATAL.has(event.code)) {
      this.over = true;
      this.events.refused(event.code === 4409 ? "Another connection has taken over this recording." : this.reason(event));
    } else {
      this.events.lost(this.reason(event) || undefined);
      this.tryLater();
    }
  }

  private reason(event: CloseEvent): string {
    return this.problem?.message || event.reason;
  }

  private tryLater(): void {
    const delay = Math.min(2_000, 250 * 2 ** this.tries);
    this.tries += 1;
    this.retry = window.setTimeout(() => {
      this.retry = undefined;
      this.connect();
    }, delay);
  }

  private listenForLife(): void {
    clearTimeout(this.watch);
    const socket = this.socket;
    this.watch = window.setTimeout(() => {
      if (!socket || socket !== this.socket) return;
      socket.close();
      this.closed(socket, new CloseEvent("close", { code: 1006 }));
    }, PATIENCE);
  }
}
