/** Recording from this machine's microphone. */
import { useEffect, useId, useState } from "preact/hooks";
import { clock } from "../format";
import { useStore } from "../store";
import { Flag, Mic, Pause, Stop } from "../ui/icons";
import { type Names, type RecorderState, recorder } from "./recorder";
import { Strip } from "./strip";

export function RecordPage() {
  const state = useStore(recorder.state);
  const idle = state.phase === "idle" || state.phase === "asking" || state.phase === "failed";
  useEffect(() => () => {
    if (recorder.state.get().phase === "failed") recorder.reset();
  }, []);
  return (
    <div class={`record ${state.phase}`}>
      <h1 class="visually-hidden">Record</h1>
      {idle ? <Before state={state} /> : state.phase === "done" ? <After state={state} /> : <During state={state} />}
    </div>
  );
}

function Before({ state }: { state: RecorderState }) {
  const [call, setCall] = useState("");
  const [participant, setParticipant] = useState(remembered());
  const start = (event: Event) => {
    event.preventDefault();
    remember(participant);
    void recorder.start({ call: call.trim(), participant: participant.trim() });
  };
  return (
    <form class="before" onSubmit={start}>
      <button type="submit" class="record-button" disabled={state.phase === "asking"}>
        <span class="visually-hidden">Start recording</span>
      </button>
      <p class="before-say" role="status">
        {state.phase === "asking" ? "The browser asks for the microphone…" : "Press to record"}
      </p>
      {state.error && (
        <div class="banner" role="alert">
          <strong>{state.error.message}</strong> {state.error.advice}
        </div>
      )}
      <div class="fields">
        <Field label="Call" hint="Several who give the same call become one recording" value={call} onInput={setCall} />
        <Field label="Your name" hint="The name of this track" value={participant} onInput={setParticipant} />
      </div>
    </form>
  );
}

interface FieldProps {
  label: string;
  hint: string;
  value: string;
  onInput(text: string): void;
}

function Field({ label, hint, value, onInput }: FieldProps) {
  const id = useId();
  return (
    <label class="field">
      <span id={`${id}-name`}>{label}</span>
      <input
        type="text"
        maxLength={200}
        autocomplete="off"
        placeholder="Optional"
        aria-labelledby={`${id}-name`}
        aria-describedby={`${id}-hint`}
        value={value}
        onInput={(event) => onInput((event.target as HTMLInputElement).value)}
      />
      <small id={`${id}-hint`}>{hint}</small>
    </label>
  );
}

function During({ state }: { state: RecorderState }) {
  const [name, setName] = useState("");
  const stopping = state.phase === "stopping";
  const mark = (event: Event) => {
    event.preventDefault();
    recorder.mark(name.trim() || `Mark ${state.marks.length + 1}`);
    setName("");
  };
  return (
    <div class="during">
      <p class="headline" role="status">
        <span class={`lamp ${state.paused ? "paused" : state.phase}`} />
        {headline(state)}
      </p>
      <Whose names={state.names} />
      <p class="time" role="timer" aria-label="Recorded">{clock(state.elapsed, true)}</p>
      <Strip state={state} />
      <p class="safe">
        <span><i class="key kept" /> Safe on disk until <b>{clock(state.safe)}</b></span>
        <span><i class="key fresh" /> On its way <b>{(state.elapsed - state.safe).toFixed(1)} s</b></span>
      </p>
      <Trouble state={state} />
      <div class="controls">
        <button
          type="button"
          class="button large"
          aria-pressed={state.paused}
          disabled={stopping}
          onClick={() => (state.paused ? recorder.resume() : recorder.pause())}
        >
          {state.paused ? <Mic /> : <Pause />} {state.paused ? "Go on" : "Pause"}
        </button>
        <button type="button" class="button large primary stop" disabled={stopping} onClick={() => recorder.stop()}>
          <Stop /> Stop
        </button>
      </div>
      <form class="marking" onSubmit={mark}>
        <input
          type="text"
          maxLength={200}
          placeholder="Name this moment"
          aria-label="Name of the mark"
          value={name}
          disabled={stopping}
          onInput={(event) => setName((event.target as HTMLInputElement).value)}
        />
        <button type="submit" class="button" disabled={stopping}>
          <Flag /> Mark
        </button>
      </form>
      <ol class="marked" aria-label="Marks">
        {state.marks.map((each) => (
          <li key={each.at + each.name}>
            <span class="at">{clock(each.at)}</span> {each.name}
          </li>
        ))}
      </ol>
    </div>
  );
}

/** The call, and who speaks: as far as somebody has named them. */
function Whose({ names: { call, participant } }: { names: Names }) {
  if (!call && !participant) return null;
  return (
    <p class="whose">
      {call && <b>{call}</b>} {participant && <span>{participant}</span>}
    </p>
  );
}

function headline(state: RecorderState): string {
  if (state.phase === "connecting") return "Connecting…";
  if (state.phase === "stopping") return state.connected ? "Sealing the recording…" : "Waiting for the server to take the rest…";
  if (state.paused) return "Paused: nothing is recorded";
  if (state.phase === "away") return "Server away, recording goes on";
  return "Recording";
}

/** What is wrong, what it means, and what can be done. */
function Trouble({ state }: { state: RecorderState }) {
  const waiting = !state.connected && (state.phase === "away" || state.phase === "stopping");
  if (!waiting && !state.lost) return null;
  return (
    <div class="banner" role="status">
      {waiting && (
        <p>
          <strong>The connection is lost.</strong> {Math.floor(state.elapsed - state.safe)} s are kept in this page, which has room for
          10 minutes. It connects again by itself and sends them on. Leave the page open.
          {state.notice && <> The server said: {state.notice}</>}
        </p>
      )}
      {state.lost > 0 && <p>There was no more room: {Math.ceil(state.lost)} s could not be kept and became silence.</p>}
      {waiting && state.phase === "stopping" && (
        <button type="button" class="button" onClick={() => recorder.giveUp()}>Stop waiting</button>
      )}
    </div>
  );
}

function After({ state }: { state: RecorderState }) {
  const rest = recorder.unsent();
  const complete = !rest || state.safe >= state.elapsed;
  return (
    <div class="after">
      <p class="headline" role="status">{complete ? "All of it is safe" : "Not all of it is on the server"}</p>
      <Whose names={state.names} />
      <p class="time">{clock(state.elapsed, true)}</p>
      {state.notice && <p class="banner">{state.notice}</p>}
      <div class="controls">
        {state.recordingId && (
          <a class="button large primary" href={`#/r/${state.recordingId}`} onClick={() => recorder.reset()}>Listen</a>
        )}
        {!complete && rest && (
          <a class="button large" href={URL.createObjectURL(rest)} download="unsent.wav">Save what is missing</a>
        )}
        <button type="button" class="button large" onClick={() => recorder.reset()}>Record another</button>
      </div>
    </div>
  );
}

const STORED = "reeltime.participant";

function remembered(): string {
  try {
    return localStorage.getItem(STORED) ?? "";
  } catch {
    return "";
  }
}

function remember(name: string): void {
  try {
    localStorage.setItem(STORED, name);
  } catch {
    // Then it is typed again next time.
  }
}
