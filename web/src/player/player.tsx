/** Lanes, transport and keys of one recording. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Details, isLive } from "../api";
import { clock } from "../format";
import { momentLink } from "../route";
import { Store } from "../store";
import { Forward, Link, Pause, Play, Rewind } from "../ui/icons";
import { useKeys } from "../ui/keys";
import { complain, toast } from "../ui/toast";
import { ElementTransport, STREAMS } from "./elements";
import { Happenings } from "./events";
import { type Highest, Lane } from "./lane";
import { EDGE, RangeTransport } from "./ranges";
import { endOf, isLinear } from "./sound";
import { Ruler, Slider } from "./timeline";
import type { Transport } from "./transport";
import { coloursOf } from "./voices";

const RATES = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3];

export function Player({ recording, at }: { recording: Details; at?: number }) {
  const live = isLive(recording);
  const length = Math.max(0.1, recording.duration_seconds, ...recording.tracks.map(endOf));
  const player = usePlayer(recording, length, at);
  const voices = useVoices(recording, player.transport);
  const colours = coloursOf(recording.tracks);
  const [highest] = useState<Highest>(() => new Store({ height: 0 }));
  const stage = useRef<HTMLDivElement>(null);
  const shows = useRef(new Set<(seconds: number) => void>());
  const now = useFrames(player.transport, stage, shows.current, length);
  const marks = [...recording.marks].sort((a, b) => a.at_seconds - b.at_seconds);
  const copyLink = () => navigator.clipboard.writeText(momentLink(recording.id, player.transport.current?.time ?? 0))
    .then(() => toast("Link to this moment copied."), complain);
  const toMark = (step: 1 | -1) => {
    const here = player.transport.current?.time ?? 0;
    const ahead = step > 0 ? marks.find((mark) => mark.at_seconds > here + 0.1) : marks.findLast((mark) => mark.at_seconds < here - 1);
    if (ahead) player.seek(ahead.at_seconds);
  };
  useKeys((key) => {
    const act = keyAction(key, player, voices, { toMark, copyLink, length });
    act?.();
    return act !== undefined;
  });
  const onReady = useCallback((show: (seconds: number) => void) => {
    shows.current.add(show);
    return () => void shows.current.delete(show);
  }, []);

  return (
    <>
      <div class="stage" ref={stage}>
        <Ruler length={length} marks={marks} colours={colours} onSeek={player.seek} />
        <div class="lanes">
          {recording.tracks.map((track, i) => (
            <Lane
              key={track.id}
              recording={recording}
              track={track}
              number={i + 1}
              colour={colours.get(track.id) ?? ""}
              highest={highest}
              length={length}
              heard={voices.audible.has(track.id)}
              solo={voices.solo.has(track.id)}
              muted={voices.muted.has(track.id)}
              onSolo={() => voices.toggleSolo(track.id)}
              onMute={() => voices.toggleMute(track.id)}
              onReady={onReady}
            />
          ))}
          <div class="over">
            <Slider length={length} time={now} live={live} onSeek={player.seek} />
          </div>
        </div>
      </div>
      <div class="transport" role="group" aria-label="Playback">
        <p class="now">
          <b>{clock(now, true)}</b> <span>{live ? "" : `/ ${clock(length)}`}</span>
          {live && (
            <button type="button" class="state live" onClick={player.toEdge} title="Listen to what is being said now">
              Live {clock(length)}
            </button>
          )}
        </p>
        <div class="transport-keys">
          <button type="button" class="button icon-only quiet" aria-label="5 seconds back" onClick={() => player.skip(-5)}><Rewind /></button>
          <button type="button" class="play" aria-label={player.playing ? "Pause" : "Play"} onClick={player.toggle}>
            {player.playing ? <Pause /> : <Play />}
          </button>
          <button type="button" class="button icon-only quiet" aria-label="5 seconds on" onClick={() => player.skip(5)}><Forward /></button>
        </div>
        <div class="transport-more">
          <label class="speed">
            <span class="visually-hidden">Speed</span>
            <select value={player.rate} onChange={(event) => player.setRate(Number((event.target as HTMLSelectElement).value))}>
              {RATES.map((rate) => (
                <option key={rate} value={rate}>{rate}×</option>
              ))}
            </select>
          </label>
          <button type="button" class="button quiet" aria-label="Copy a link to this moment" onClick={copyLink}>
            <Link /> Link to this moment
          </button>
        </div>
      </div>
      <Happenings recording={recording} onSeek={player.seek} />
    </>
  );
}

interface Moves {
  toMark(step: 1 | -1): void;
  copyLink(): void;
  length: number;
}

function keyAction(key: string, player: Playing, voices: Voices, moves: Moves): (() => void) | undefined {
  const rate = (step: 1 | -1) => RATES[RATES.indexOf(player.rate) + step] ?? player.rate;
  const actions: Record<string, () => void> = {
    " ": player.toggle,
    ArrowLeft: () => player.skip(-5),
    ArrowRight: () => player.skip(5),
    "Shift+ArrowLeft": () => player.skip(-30),
    "Shift+ArrowRight": () => player.skip(30),
    Home: () => player.seek(0),
    End: () => player.seek(moves.length),
    m: () => moves.toMark(1),
    "Shift+M": () => moves.toMark(-1),
    "<": () => player.setRate(rate(-1)),
    ">": () => player.setRate(rate(1)),
    c: moves.copyLink,
    "0": voices.everyone,
  };
  return actions[key] ?? (/^[1-9]$/.test(key) ? () => voices.soloNumber(Number(key)) : undefined);
}

type Playing = ReturnType<typeof usePlayer>;
type Voices = ReturnType<typeof useVoices>;

function usePlayer(recording: Details, length: number, at?: number) {
  const transport = useRef<Transport>(undefined);
  const [playing, setPlaying] = useState(false);
  const [rate, setRateShown] = useState(1);
  useEffect(() => {
    const events = { changed: () => setPlaying(made.playing), failed: (message: string) => void toast(message, undefined, 8_000) };
    const inRanges = (isLive(recording) || recording.tracks.length > STREAMS) && recording.tracks.every(isLinear);
    const made: Transport = inRanges ? new RangeTransport(recording, events) : new ElementTransport(recording, events);
    transport.current = made;
    return () => made.close();
  }, []);
  useEffect(() => transport.current?.update(recording), [recording]);
  useEffect(() => {
    if (at !== undefined) transport.current?.seek(at);
  }, [at]);

  const seek = (seconds: number) => transport.current?.seek(Math.max(0, Math.min(seconds, length)));
  const play = async () => {
    await transport.current?.play().catch(complain);
    setPlaying(transport.current?.playing ?? false);
  };
  return {
    transport,
    playing,
    rate,
    seek,
    skip: (seconds: number) => seek((transport.current?.time ?? 0) + seconds),
    toggle: () => {
      if (!transport.current?.playing) return void play();
      transport.current.pause();
      setPlaying(false);
    },
    toEdge: () => {
      seek(length - EDGE);
      if (!transport.current?.playing) void play();
    },
    setRate: (wanted: number) => {
      transport.current?.setRate(wanted);
      setRateShown(wanted);
    },
  };
}

function useVoices(recording: Details, transport: { current?: Transport }) {
  const [solo, setSolo] = useState<ReadonlySet<string>>(new Set());
  const [muted, setMuted] = useState<ReadonlySet<string>>(new Set());
  const ids = recording.tracks.map((track) => track.id);
  const heard = ids.filter((id) => (solo.size ? solo.has(id) : !muted.has(id)));
  const audible = new Set(heard);
  useEffect(() => transport.current?.setAudible(audible), [heard.join()]);
  return {
    solo,
    muted,
    audible,
    toggleSolo: (id: string) => setSolo(toggled(solo, id)),
    toggleMute: (id: string) => setMuted(toggled(muted, id)),
    soloNumber: (number: number) => {
      const id = ids[number - 1];
      if (id) setSolo(solo.size === 1 && solo.has(id) ? new Set() : new Set([id]));
    },
    everyone: () => {
      setSolo(new Set());
      setMuted(new Set());
    },
  };
}

function toggled(set: ReadonlySet<string>, id: string): ReadonlySet<string> {
  const changed = new Set(set);
  if (!changed.delete(id)) changed.add(id);
  return changed;
}

/** Moves the playhead and the waveforms each frame, past the rendering; returns the time for what is read, in tenths. */
function useFrames(
  transport: { current?: Transport },
  stage: { current: HTMLElement | null },
  shows: ReadonlySet<(seconds: number) => void>,
  length: number,
): number {
  const [shown, setShown] = useState(0);
  const latest = useRef(length);
  latest.current = length;
  useEffect(() => {
    let frame = 0;
    let before = "";
    const draw = () => {
      frame = requestAnimationFrame(draw);
      const time = transport.current?.time ?? 0;
      const state = `${time} ${latest.current} ${shows.size}`;
      if (state === before) return;
      before = state;
      stage.current?.style.setProperty("--at", String(Math.min(1, time / latest.current)));
      for (const show of shows) show(time);
      setShown(Math.floor(time * 10 + 0.001) / 10);
    };
    draw();
    return () => cancelAnimationFrame(frame);
  }, []);
  return shown;
}
