"""The transcribe socket's files in every format: judged by other people's decoders, for length and level."""

import array
import math

import pytest
from harness import clients, judges
from harness.server import run_reeltime, until
from websockets.sync.client import connect

SECONDS = 2.5
LEVEL = 0.2


def level_of(pcm: bytes) -> float:
    """Root mean square of the middle, 0 to 1: what the ends of a codec do is left out."""
    samples = array.array("h", pcm)
    samples = samples[len(samples) // 4 : -len(samples) // 4]
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples)) / 32_768


def recorded(server, audio: bytes) -> dict:
    """The only recording there is, once it is complete."""
    clients.transcribe(server, audio)
    (recording,) = until("the recording to be listed", server.recordings)
    return server.completed(recording["id"])


def only_file(server):
    (file,) = [path for path in (server.home / "recordings").rglob("*") if path.is_file()]
    return file


@pytest.mark.parametrize(
    ("name", "mime", "codec"),
    [
        ("wav", "audio/wav", "pcm_s16le"),
        ("mp3", "audio/mpeg", "mp3"),
        ("flac", "audio/flac", "flac"),
        ("ogg", "audio/ogg", "opus"),
        ("webm", "audio/webm", "opus"),
        ("mp4", "audio/mp4", "aac"),
    ],
)
def test_the_file_is_what_was_received_in_the_format_that_is_set(new_server, name, mime, codec):
    server = new_server(BACKEND_RECORD_FORMAT=name, BACKEND_RECORD_BITRATE="64k").start()
    audio = judges.tone(440, SECONDS, level=LEVEL)
    recording = recorded(server, audio)
    assert recording["mime_type"] == mime
    assert recording["duration_seconds"] == pytest.approx(SECONDS)
    file = only_file(server)
    assert file.name.startswith("session_") and file.suffix == f".{name}"
    content = file.read_bytes()
    assert server.stream(recording["id"]) == server.stream(recording["id"], format=name) == content
    assert judges.ffprobe(content)["codec_name"] == codec
    # From the file itself: of a pipe ffmpeg does not know where an MP3 ends.
    heard = judges.run("ffmpeg", "-v", "error", "-i", str(file), "-f", "s16le", "-ar", "16000", "-")
    # And of an MP4 it plays the last packet to its end.
    assert 0 <= len(heard) - len(audio) < (2 * 1_024 if name == "mp4" else 1)
    assert level_of(heard) == pytest.approx(2 * level_of(audio), rel=0.05)
    assert judges.power(heard[: len(audio)], 440, 16_000) > 0.9 * (2 * LEVEL) ** 2
    if name in ("wav", "flac"):
        doubled = array.array("h", [2 * sample for sample in array.array("h", audio)])
        assert heard == doubled.tobytes()


def test_the_bit_rate_is_that_of_the_file(new_server):
    sizes = []
    for rate in ("24k", "96k"):
        server = new_server(BACKEND_RECORD_FORMAT="mp3", BACKEND_RECORD_BITRATE=rate).start()
        recording = recorded(server, judges.tone(440, SECONDS))
        assert int(judges.ffprobe(server.stream(recording["id"]))["bit_rate"]) == int(rate[:-1]) * 1_000
        sizes.append(recording["size_bytes"])
    assert sizes[1] > 3 * sizes[0]


def test_a_bit_rate_that_a_codec_does_not_know_becomes_the_nearest(new_server):
    server = new_server(BACKEND_RECORD_FORMAT="mp3", BACKEND_RECORD_BITRATE="320k").start()
    recording = recorded(server, judges.tone(440, SECONDS))
    # MPEG-2 layer III, which 16 kHz is, goes up to 160.
    assert int(judges.ffprobe(server.stream(recording["id"]))["bit_rate"]) == 160_000


def test_peaks_of_an_encoded_recording_are_those_of_its_sound(new_server):
    server = new_server(BACKEND_RECORD_FORMAT="mp3").start()
    audio = judges.tone(440, SECONDS, level=LEVEL)
    recording = recorded(server, audio)
    path = f"/api/v1/recordings/{recording['id']}/peaks"
    wave = server.get(path, params={"samples_per_pixel": 64, "bits": 16}).json()
    samples = [2 * sample for sample in array.array("h", audio)]
    stretches = [samples[at : at + 256] for at in range(0, len(samples), 256)]
    assert wave["samples_per_pixel"] == 256
    assert wave["data"] == [value for each in stretches for value in (min(each), max(each))]
    for kept in (server.data_dir / "cache").rglob("*.dat"):
        kept.unlink()
    refused = server.get(path)
    assert refused.status_code == 406 and "MP3" in refused.json()["detail"]


def test_peaks_that_are_not_kept_any_more_are_made_of_a_flac_file(new_server):
    server = new_server(BACKEND_RECORD_FORMAT="flac").start()
    recording = recorded(server, judges.tone(440, SECONDS, level=LEVEL))
    path = f"/api/v1/recordings/{recording['id']}/peaks"
    kept = list((server.data_dir / "cache").rglob("*.dat"))
    before = [each.read_bytes() for each in kept]
    assert len(before) == 1
    kept[0].unlink()
    wave = server.get(path, params={"samples_per_pixel": 256, "bits": 16}).json()
    decoding = ("ffmpeg", "-v", "error", "-i", "-", "-f", "s16le", "-")
    samples = array.array("h", judges.run(*decoding, stdin=server.stream(recording["id"])))
    stretches = [samples[at : at + 256] for at in range(0, len(samples), 256)]
    assert wave["data"] == [value for each in stretches for value in (min(each), max(each))]
    assert [each.read_bytes() for each in kept] == before


def test_another_format_than_the_one_it_is_kept_in_is_refused_with_what_to_ask_for(new_server):
    server = new_server(BACKEND_RECORD_FORMAT="ogg").start()
    recording = recorded(server, judges.tone(440, 1.0))
    answer = server.get(f"/api/v1/recordings/{recording['id']}/stream", params={"format": "wav"})
    assert answer.status_code == 406 and "format=ogg" in answer.json()["detail"]


def test_while_it_is_recorded_it_is_heard_and_drawn_with_its_gain(new_server):
    server = new_server(BACKEND_RECORD_FORMAT="mp3").start()
    audio = judges.tone(440, 1.0, level=LEVEL)
    doubled = [2 * sample for sample in array.array("h", audio)]
    with connect(server.url("/ws/transcribe", "ws"), proxy=None) as socket:
        socket.recv(timeout=10)
        for at in range(0, len(audio), 640):
            socket.send(audio[at : at + 640])
        (recording,) = until("the recording to be listed", server.recordings)
        path = f"/api/v1/recordings/{recording['id']}/peaks"
        query = {"samples_per_pixel": 256, "bits": 16}

        def drawn():
            answer = server.get(path, params=query)
            return answer.json() if answer.status_code == 200 and answer.json()["length"] > 55 else None

        wave = until("peaks", drawn, every=0.1)
        stretches = [doubled[at : at + 256] for at in range(0, len(doubled), 256)]
        expected = [value for each in stretches for value in (min(each), max(each))]
        assert wave["data"] == expected[: len(wave["data"])]
        live = judges.data_of(server.stream(recording["id"]))
        assert live == array.array("h", doubled).tobytes()
    server.completed(recording["id"])


@pytest.mark.parametrize("name", ["flac", "mp3", "ogg"])
def test_while_it_is_recorded_it_can_be_had_in_other_formats(new_server, tmp_path, name):
    server = new_server().start()
    audio = judges.tone(440, 1.0, level=LEVEL)
    with connect(server.url("/ws/transcribe", "ws"), proxy=None) as socket:
        socket.recv(timeout=10)
        for at in range(0, len(audio), 640):
            socket.send(audio[at : at + 640])
        (recording,) = until("the recording to be listed", server.recordings)
        path = f"/api/v1/recordings/{recording['id']}"
        until("all of it", lambda: server.get(path).json()["duration_seconds"] == 1.0, every=0.1)
        live = tmp_path / f"live.{name}"
        live.write_bytes(server.stream(recording["id"], format=name))
    heard = judges.run("ffmpeg", "-v", "error", "-i", str(live), "-f", "s16le", "-ar", "16000", "-")
    assert judges.ffprobe(live.read_bytes())["codec_name"] == {"ogg": "opus"}.get(name, name)
    assert level_of(heard) == pytest.approx(2 * level_of(audio), rel=0.05)
    if name == "flac":
        assert heard == array.array("h", [2 * sample for sample in array.array("h", audio)]).tobytes()
    server.completed(recording["id"])


def test_without_lame_the_server_says_at_its_start_which_package_is_missing(tmp_path):
    # A file of LAME's name that is no library, found before LAME is.
    (tmp_path / "libmp3lame.so.0").write_bytes(b"no library")
    told = run_reeltime(
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        str(tmp_path / "data"),
        cwd=tmp_path,
        BACKEND_RECORD_FORMAT="mp3",
        LD_LIBRARY_PATH=str(tmp_path),
    )
    assert told.returncode != 0 and "libmp3lame0" in told.stderr, told.stderr


def test_a_recording_whose_encoder_went_away_is_kept_as_wav(new_server, tmp_path):
    server = new_server(BACKEND_RECORD_FORMAT="mp3").start()
    audio = judges.tone(440, 1.0, level=LEVEL)
    with connect(server.url("/ws/transcribe", "ws"), proxy=None) as socket:
        socket.recv(timeout=10)
        for at in range(0, len(audio), 640):
            socket.send(audio[at : at + 640])
        (recording,) = until("the recording to be listed", server.recordings)
        until("it to be logged", lambda: server.recording(recording["id"])["duration_seconds"] > 0.99)
        server.kill()
    (tmp_path / "libmp3lame.so.0").write_bytes(b"no library")
    server.settings = {"BACKEND_RECORD_FORMAT": "wav", "LD_LIBRARY_PATH": str(tmp_path)}
    server.start()
    recording = server.completed(recording["id"])
    assert recording["mime_type"] == "audio/wav" and only_file(server).suffix == ".wav"
    assert "kept as WAV" in server.log()
    heard = judges.data_of(server.stream(recording["id"]))
    doubled = array.array("h", [2 * sample for sample in array.array("h", audio)]).tobytes()
    assert doubled.startswith(heard) and len(heard) > 0.7 * len(doubled)
