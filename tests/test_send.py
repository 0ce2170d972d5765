"""`reeltime send`: files and pipes played into a real server, which is killed meanwhile, compared sample by sample."""

import array
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest
from harness import judges
from harness.oracle import compare, indexed_pcm
from harness.server import BINARY, clean_environment, of_tracks, run_reeltime, until

RATE = 16_000


def wav(path, pcm: bytes, rate: int = RATE, channels: int = 1, codec: tuple[str, ...] = ()):
    """`pcm` as a WAV that sox has made."""
    raw = ("sox", "-D", "-t", "raw", "-e", "signed", "-b", "16", "-r", str(rate), "-c", str(channels), "-")
    judges.run(*raw, *codec, str(path), stdin=pcm)
    return path


class Sender:
    """`reeltime send` in the background."""

    def __init__(self, server, *arguments, cwd, stdin=subprocess.DEVNULL, **settings):
        self.process = subprocess.Popen(
            [BINARY, "send", *map(str, arguments), "--to", server.url(""), "--json"],
            cwd=cwd,
            env=clean_environment(**settings),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.decode().rstrip())

    def said(self, pattern: str, seconds: float = 20.0) -> re.Match:
        """The first line of stderr with this in it, once it is there."""
        found = lambda: next((hit for line in list(self.lines) if (hit := re.search(pattern, line))), None)  # noqa: E731
        return until(f"{pattern!r} in {self.lines}", found, seconds)

    def end(self, status: int = 0, seconds: float = 60.0) -> dict:
        """Its report."""
        report = self.process.stdout.read()
        assert self.process.wait(seconds) == status, self.lines
        self.reader.join()
        return json.loads(report)


def sent(server, *arguments, cwd, status: int = 0, **settings) -> dict:
    """The report of a `send` that is over."""
    return Sender(server, *arguments, cwd=cwd, **settings).end(status)


def of(server, report: dict, number: int = 0) -> bytes:
    """The samples of a participant, with all its parts put together where it has several."""
    pcm = b""
    for part in report["participants"][number]["parts"]:
        server.completed(part["recording_id"], 60)
        pcm += judges.wave_file(server.stream(part["recording_id"], track=part["track_id"]))[1]
    return pcm


def is_speaking(server, participant: str, seconds: float = 1.0):
    """So many seconds of this participant are recorded already."""

    def recorded():
        found = server.recordings(q=participant, state="active")
        return found and found[0]["duration_seconds"] >= seconds

    until(f"{participant} to be recorded", recorded)


def test_a_wav_comes_back_sample_by_sample(server, tmp_path):
    pcm = indexed_pcm("send-wav", 5 * RATE)
    report = sent(server, wav(tmp_path / "anna.wav", pcm), "--fast", "--call", "send-wav", cwd=tmp_path)
    assert report["complete"] and report["call"] == "send-wav" and len(report["recordings"]) == 1
    (anna,) = report["participants"]
    assert (anna["participant"], anna["samples"], anna["seconds"], anna["error"]) == ("anna", 5 * RATE, 5.0, None)
    assert of(server, report) == pcm
    details = server.recording(report["recordings"][0])
    assert (details["call_id"], details["participants"]) == ("send-wav", ["anna"])


def test_stereo_and_g711_are_sent_as_they_are(server, tmp_path):
    stereo = wav(tmp_path / "stereo.wav", indexed_pcm("send-stereo", 2 * RATE), channels=2)
    report = sent(server, stereo, "--fast", cwd=tmp_path)
    assert of(server, report) == indexed_pcm("send-stereo", 2 * RATE)
    for codec, law in (("mulaw", "mu-law"), ("alaw", "a-law")):
        coded = wav(tmp_path / f"{codec}.wav", indexed_pcm(codec, 8_000), 8_000, codec=("-e", law))
        report = sent(server, coded, "--fast", cwd=tmp_path)
        (one,) = report["participants"]
        assert (one["codec"], one["rate"], one["samples"]) == (codec, 8_000, 8_000)
        server.completed(report["recordings"][0])
        assert judges.data_of(server.stream(report["recordings"][0])) == judges.data_of(coded.read_bytes())


def test_other_formats_come_through_ffmpeg(server, tmp_path):
    tone = judges.tone(440, 3.0, 44_100)
    for name in ("tone.flac", "float.wav", "tone.mp3"):
        options = ("-e", "floating-point", "-b", "32") if name == "float.wav" else ()
        if name == "tone.mp3":
            source = ("-f", "s16le", "-ar", "44100", "-ac", "1")
            judges.run("ffmpeg", "-v", "error", *source, "-i", "-", str(tmp_path / name), stdin=tone)
        else:
            wav(tmp_path / name, tone, 44_100, codec=options)
        report = sent(server, name, "--fast", cwd=tmp_path)
        (one,) = report["participants"]
        assert (one["codec"], one["rate"], one["channels"]) == ("s16le", 44_100, 1)
        assert one["seconds"] == pytest.approx(3.0, abs=0.06)
        pcm = of(server, report)
        if name == "tone.flac":
            assert pcm == tone
        middle = pcm[44_100 : 3 * 44_100]
        assert judges.power(middle, 440, 44_100) > 0.2 > 0.001 > judges.power(middle, 600, 44_100)


def test_opus_is_sent_packet_by_packet_and_goes_on_at_the_right_one(new_server, tmp_path):
    server = new_server().start()
    port = server.port
    ogg = tmp_path / "speaker.ogg"
    wav(tmp_path / "speaker.wav", indexed_pcm("send-opus", 6 * RATE))
    judges.run("opusenc", "--quiet", str(tmp_path / "speaker.wav"), str(ogg))
    packets = judges.opus_packets(ogg.read_bytes())
    sender = Sender(server, ogg, cwd=tmp_path, PATH="")
    is_speaking(server, "speaker")
    server.kill()
    server.start(port)
    report = sender.end()
    (one,) = report["participants"]
    samples = sum(map(judges.opus_samples, packets))
    assert (one["codec"], one["rate"], one["samples"], one["reconnects"]) == ("opus", 48_000, samples, 1)
    (recording,) = report["recordings"]
    server.completed(recording)
    assert judges.opus_packets(server.stream(recording)) == packets
    details = server.recording(recording)
    assert not of_tracks(details, "gaps")
    # Another encoder's pre-skip and frames.
    options = ("-c:a", "libopus", "-frame_duration", "60")
    judges.run("ffmpeg", "-v", "error", "-i", str(ogg), *options, str(tmp_path / "long.opus"))
    long = sent(server, "long.opus", "--fast", cwd=tmp_path)
    server.completed(long["recordings"][0])
    packets = judges.opus_packets((tmp_path / "long.opus").read_bytes())
    assert judges.opus_packets(server.stream(long["recordings"][0])) == packets


def test_speakers_of_a_call_share_one_clock(server, tmp_path):
    """Every file has the same click at one second: on the recording's clock they coincide."""

    def clicking(rate: int) -> bytes:
        samples = array.array("h", [1] * (2 * rate))
        samples[rate] = 30_000
        return samples.tobytes()

    files = [wav(tmp_path / f"{rate}.wav", clicking(rate), rate) for rate in (8_000, 16_000, 48_000)]
    report = sent(server, *files, "--as", "a", "--as", "b", "--as", "c", cwd=tmp_path)
    (recording,) = report["recordings"]
    details = server.completed(recording)
    assert sorted(track["participant"] for track in details["tracks"]) == ["a", "b", "c"]
    clicks = []
    for number, track in enumerate(details["tracks"]):
        pcm = judges.wave_file(server.stream(recording, track=track["id"]))[1]
        samples = array.array("h", pcm)
        clicks.append(track["start_seconds"] + samples.index(30_000) / track["rate"])
        assert of(server, report, number) == clicking((8_000, 16_000, 48_000)[number])
    print(clicks)
    # They are sent at one moment; what is between them is how busy this machine is.
    assert max(clicks) - min(clicks) < 0.1, clicks


def test_killed_in_the_middle_nothing_is_lost(new_server, tmp_path):
    server = new_server().start()
    port = server.port
    anna, ben = indexed_pcm("kill-anna", 10 * RATE), indexed_pcm("kill-ben", 8 * RATE)
    files = wav(tmp_path / "anna.wav", anna), wav(tmp_path / "ben.wav", ben)
    sender = Sender(server, *files, "--call", "killed", cwd=tmp_path)
    for _ in range(2):
        is_speaking(server, "anna")
        server.kill()
        time.sleep(0.5)
        server.start(port)
        sender.said("connected again")
    report = sender.end()
    assert sender.said("anna: connection lost at") and sender.said("ben: connected again, going on from")
    assert len(report["recordings"]) == 1 and all(one["reconnects"] >= 1 for one in report["participants"])
    for number, pcm in enumerate((anna, ben)):
        verdict = compare(of(server, report, number), pcm)
        assert verdict.intact, verdict


def test_as_fast_as_possible_through_a_kill_nothing_is_lost(new_server, tmp_path):
    server = new_server().start()
    port = server.port
    pcm = indexed_pcm("kill-fast", 600 * RATE)
    sender = Sender(server, wav(tmp_path / "long.wav", pcm), "--speed", "120", cwd=tmp_path)
    is_speaking(server, "long")
    server.kill()
    server.start(port)
    report = sender.end()
    assert (report["participants"][0]["reconnects"], len(report["recordings"])) == (1, 1)
    assert of(server, report) == pcm


def test_a_pipe_is_held_until_it_is_safe(new_server, tmp_path):
    """What came through stdin cannot be read again: it is kept until it is acknowledged."""
    server = new_server().start()
    port = server.port
    pcm = indexed_pcm("kill-pipe", 6 * RATE)
    sender = Sender(server, "-", "--as", "piped", "--rate", str(RATE), cwd=tmp_path, stdin=subprocess.PIPE)

    def pour():
        with sender.process.stdin as pipe:
            pipe.write(pcm)

    pouring = threading.Thread(target=pour)
    pouring.start()
    is_speaking(server, "piped")
    server.kill()
    time.sleep(0.5)
    server.start(port)
    report = sender.end()
    pouring.join()
    assert report["participants"][0]["reconnects"] == 1
    verdict = compare(of(server, report), pcm)
    assert verdict.intact, verdict


def test_beyond_the_resume_window_it_goes_on_in_another_recording_of_the_call(new_server, tmp_path):
    server = new_server(REELTIME_RESUME_WINDOW="1s", REELTIME_CALL_LINGER="0s").start()
    port = server.port
    pcm = indexed_pcm("beyond", 6 * RATE)
    sender = Sender(server, wav(tmp_path / "anna.wav", pcm), "--call", "beyond", cwd=tmp_path)
    is_speaking(server, "anna")
    os.kill(sender.process.pid, signal.SIGSTOP)
    server.kill()
    server.start(port)
    until("the session to be given up", lambda: server.recordings(call_id="beyond")[0]["state"] == "complete")
    os.kill(sender.process.pid, signal.SIGCONT)
    report = sender.end()
    assert sender.said("its resume window is over")
    assert len(report["recordings"]) == 2
    assert [part["from_sample"] for part in report["participants"][0]["parts"]][1] > 0
    verdict = compare(of(server, report), pcm)
    assert verdict.intact, verdict


def test_a_server_that_does_not_come_back_is_given_up(new_server, tmp_path):
    server = new_server().start()
    sender = Sender(
        server, wav(tmp_path / "a.wav", indexed_pcm("gone", 20 * RATE)), "--retry-for", "1s", cwd=tmp_path
    )
    is_speaking(server, "a", 3.0)
    server.kill()
    report = sender.end(status=1)
    assert not report["complete"] and "gave up after" in report["participants"][0]["error"]
    assert sender.said("^reeltime: a was not sent to the end")
    assert 0 < report["participants"][0]["samples"] < 20 * RATE


def test_ctrl_c_stops_cleanly(server, tmp_path):
    pcm = indexed_pcm("ctrl-c", 60 * RATE)
    sender = Sender(server, wav(tmp_path / "interrupted.wav", pcm), cwd=tmp_path)
    is_speaking(server, "interrupted")
    sender.process.send_signal(signal.SIGINT)
    report = sender.end()
    samples = report["participants"][0]["samples"]
    assert RATE <= samples < 50 * RATE
    assert of(server, report) == pcm[: 2 * samples]


def test_ctrl_c_ends_a_pipe_that_stays_open(server, tmp_path):
    pcm = indexed_pcm("open-pipe", 2 * RATE)
    sender = Sender(server, "-", "--as", "open-pipe", "--rate", RATE, cwd=tmp_path, stdin=subprocess.PIPE)
    sender.process.stdin.write(pcm)
    sender.process.stdin.flush()
    is_speaking(server, "open-pipe", 2.0)
    sender.process.send_signal(signal.SIGINT)
    report = sender.end()
    sender.process.stdin.close()
    assert report["participants"][0]["samples"] == 2 * RATE
    assert of(server, report) == pcm


def test_stopped_by_the_servers_owner_says_so(server, tmp_path):
    sender = Sender(server, wav(tmp_path / "owner.wav", indexed_pcm("owner", 60 * RATE)), cwd=tmp_path)
    recording = sender.said("owner: recording (\\S+)")[1]
    is_speaking(server, "owner")
    assert server.request("POST", f"/api/v1/recordings/{recording}/stop").status_code == 204
    report = sender.end(status=1)
    assert report["participants"][0]["error"] == "the server ended the recording"


def piped(server, content: bytes, *arguments: str, **settings) -> subprocess.CompletedProcess:
    """A `send -` of this, to its end."""
    command = [BINARY, "send", "-", "--to", server.url(""), "--fast", "--json", *arguments]
    environment = clean_environment(**settings)
    return subprocess.run(command, input=content, env=environment, capture_output=True, timeout=30)


def test_a_pipe_is_taken_as_a_file_of_the_same_content_is(server, tmp_path):
    """Longer than what a pipe holds, so that ffmpeg is fed while it is heard."""
    pcm = indexed_pcm("piped", 20 * RATE)
    plain = wav(tmp_path / "x.wav", pcm)
    for name, options in (("x.flac", ()), ("x.aiff", ()), ("deep.wav", ("-b", "24")), ("x.wav", ())):
        path = tmp_path / name
        if not path.exists():
            wav(path, pcm, codec=options)
        done = piped(server, path.read_bytes())
        assert done.returncode == 0, done.stderr
        assert of(server, json.loads(done.stdout)) == pcm, name
    done = piped(server, judges.run("opusenc", "--quiet", str(plain), "-"))
    (one,) = json.loads(done.stdout)["participants"]
    assert (one["codec"], one["rate"], one["participant"]) == ("s16le", 48_000, "stdin")
    assert one["seconds"] == pytest.approx(20.0, abs=0.1)


def test_a_pipe_that_cannot_be_decoded_says_why(server, tmp_path):
    flac = wav(tmp_path / "x.flac", indexed_pcm("undecodable", RATE)).read_bytes()
    for content, settings, expected in (
        (flac, {"PATH": ""}, "stdin is no WAV of 16-bit or G.711 samples, and ffmpeg"),
        (b"OggS" + bytes(400_000), {}, "ffmpeg finds no audio in stdin: "),
        (wav(tmp_path / "none.wav", b"").read_bytes(), {}, "stdin holds no audio"),
    ):
        done = piped(server, content, **settings)
        assert (done.returncode, done.stdout) == (1, b"") and expected in done.stderr.decode(), done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (["nowhere.wav"], 1, "cannot read nowhere.wav"),
        (["."], 1, "is a folder"),
        (["empty.wav"], 1, "empty.wav holds no audio"),
        (["notes.txt"], 1, "ffmpeg finds no audio in notes.txt: "),
        (["a.wav", "--as", "x", "--as", "y"], 2, "2 names (--as) do not fit 1 files"),
        (["-", "-"], 2, "stdin can be read only once"),
        (["-"], 1, "stdin holds no audio"),
        (["-", "--codec", "mulaw"], 1, "stdin holds no audio"),
        (["a.wav", "--as", ""], 2, "--as is empty"),
        (["a.wav", "a.wav", "--as", "x", "--as", " "], 2, "--as is empty"),
        (["a.wav", "--speed", "0"], 2, "--speed is not above 0"),
        (["a.wav", "--speed", "2", "--fast"], 2, "cannot be used with"),
        (["a.wav", "--codec", "opus"], 2, "Opus comes in packets"),
        (["a.wav", "--codec", "aac"], 2, "--codec: "),
        (["a.wav", "--rate", "7"], 2, "8000 to 192000"),
        (["a.wav", "--retry-for", "soon"], 2, "--retry-for is not a length of time"),
        (["a.wav", "--to", "https://127.0.0.1:1", "--ca", "a.wav"], 1, "holds no certificate"),
        (["a.wav", "--to", "127.0.0.1:1"], 1, "no server answers at http://127.0.0.1:1"),
        ([], 2, "required"),
    ],
)
def test_wrong_files_and_flags_are_refused_with_a_sentence(server, tmp_path, arguments, status, expected):
    wav(tmp_path / "a.wav", indexed_pcm("a", RATE))
    wav(tmp_path / "empty.wav", b"")
    (tmp_path / "notes.txt").write_text("not audio at all\n" * 100)
    more = [] if "--to" in arguments else ["--to", server.url("")]
    before = server.get("/readyz").json()["sessions"]
    done = run_reeltime("send", *arguments, *more, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert expected in done.stderr and ": recording " not in done.stderr
    assert server.get("/readyz").json()["sessions"] == before


def test_without_ffmpeg_only_what_needs_it_is_refused(server, tmp_path):
    pcm = indexed_pcm("no-ffmpeg", RATE)
    wav(tmp_path / "a.wav", pcm)
    wav(tmp_path / "a.flac", pcm)
    done = run_reeltime("send", "a.flac", "--to", server.url(""), cwd=tmp_path, PATH="")
    assert done.returncode == 1 and "ffmpeg, which decodes everything else, is not installed" in done.stderr
    report = sent(server, "a.wav", "--fast", cwd=tmp_path, PATH="")
    assert of(server, report) == pcm


def test_progress_is_plain_lines_where_stderr_is_no_terminal(server, tmp_path):
    file = wav(tmp_path / "p.wav", indexed_pcm("progress", 12 * RATE))
    done = run_reeltime("send", str(file), "--to", server.url(""), cwd=tmp_path)
    assert done.returncode == 0 and "\x1b" not in done.stderr + done.stdout and "\r" not in done.stderr
    assert re.search(r"^p: 0:0\d\.\d of 0:12\.0 \(\d\d%\), on disk 0:0\d\.\d, \d\.\dx$", done.stderr, re.M), done.stderr
    assert re.search(r"^p: 0:12\.0, all of it on disk$", done.stderr, re.M), done.stderr
    recording = re.search(r"^p: 0:12\.0 in recording (\S+)$", done.stdout, re.M)[1]
    assert f"reeltime export {recording} --to {server.url('')} -o - | ffplay -" in done.stdout


def test_a_key_is_sent_and_asked_for(new_server, tmp_path):
    server = new_server(REELTIME_API_KEYS="canary-key").start()
    file = str(wav(tmp_path / "k.wav", indexed_pcm("key", RATE)))
    to = ("--to", server.url(""))
    done = run_reeltime("send", file, *to, cwd=tmp_path)
    assert done.returncode == 1 and "asks for a key: give it with --api-key or REELTIME_API_KEY" in done.stderr
    done = run_reeltime("send", file, "--fast", *to, cwd=tmp_path, REELTIME_API_KEY="canary-key")
    assert done.returncode == 0, done.stderr
    done = run_reeltime("send", file, "--fast", *to, "--api-key", "canary-key", cwd=tmp_path)
    assert done.returncode == 0 and "canary" not in done.stderr + done.stdout


def test_memory_does_not_grow_with_the_file(server, tmp_path):
    """An hour of 48 kHz, 330 MiB, as fast as it is taken: the sender's peak stays small."""
    path = tmp_path / "hour.raw"
    with path.open("wb") as file:
        file.truncate(3_600 * 96_000)
    code = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True); "
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [BINARY, "send", str(path), "--rate", "48000", "--fast", "--to", server.url("")]
    status, peak = judges.run("python3", "-c", code, *command).split()
    print(f"peak {int(peak) / 1024:.1f} MiB")
    assert status == b"0" and int(peak) < 64 * 1024
