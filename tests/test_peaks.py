"""Peaks: what a waveform is drawn from, compared with the samples themselves."""

import array
import json
import math
import struct
import time

import pytest
from harness import judges
from harness.clients import Ingest
from harness.judges import data_of, tone
from harness.server import until

API = "/api/v1/recordings"


def samples_of(pcm: bytes) -> array.array:
    return array.array("h", pcm)


def expected(samples, per_pixel: int, bits: int = 8, channels: int = 1) -> list[int]:
    """Least and greatest of each stretch and channel, as the format wants them."""
    exact = (lambda value: int(value / 256)) if bits == 8 else (lambda value: value)
    data = []
    for at in range(0, len(samples), per_pixel * channels):
        stretch = samples[at : at + per_pixel * channels]
        for channel in range(channels):
            one = stretch[channel::channels]
            data += [exact(min(one)), exact(max(one))]
    return data


def peaks(server, recording_id: str, **query) -> dict:
    answer = server.get(f"{API}/{recording_id}/peaks", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    wave = answer.json()
    assert wave["version"] == 2 and len(wave["data"]) == 2 * wave["channels"] * wave["length"]
    return wave


def read_dat(content: bytes) -> dict:
    version, flags, rate, per_pixel, length, channels = struct.unpack_from("<iIiiIi", content)
    bits = 8 if flags & 1 else 16
    values = array.array("b" if bits == 8 else "h", content[24:])
    assert version == 2 and len(values) == 2 * length * channels
    return {
        "version": 2,
        "channels": channels,
        "sample_rate": rate,
        "samples_per_pixel": per_pixel,
        "bits": bits,
        "length": length,
        "data": list(values),
    }


def swelling(seconds: float, rate: int = 16_000) -> bytes:
    """A tone that grows louder, so that every pixel is another."""
    count = round(seconds * rate)
    return array.array(
        "h", [round(30_000 * i / count * math.sin(2 * math.pi * 313 * i / rate)) for i in range(count)]
    ).tobytes()


def record(server, audio: bytes, **query) -> Ingest:
    client = Ingest(server, **query)
    client.send(audio)
    client.stop()
    server.completed(client.recording_id)
    return client


@pytest.fixture(scope="module")
def finished(server) -> Ingest:
    return record(server, swelling(3.01), participant="ada")


@pytest.fixture(scope="module")
def samples() -> array.array:
    return samples_of(swelling(3.01))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("asked", "given"), [(1, 1), (100, 64), (256, 256), (300, 256), (512, 512), (1_000, 768), (2**31 - 1, 2**31 - 256)]
)
def test_every_zoom_is_that_of_the_samples(server, finished, samples, asked, given, bits):
    query = {"track": finished.track_id, "samples_per_pixel": asked, "bits": bits}
    wave = peaks(server, finished.recording_id, **query)
    assert (wave["sample_rate"], wave["channels"], wave["bits"]) == (16_000, 1, bits)
    assert wave["samples_per_pixel"] == given
    assert wave["data"] == expected(samples, given, bits)
    dat = server.get(f"{API}/{finished.recording_id}/peaks", params=query | {"format": "dat"})
    assert int(dat.headers["Content-Length"]) == len(dat.content)
    assert read_dat(dat.content) == wave


def test_a_width_gives_at_most_so_many_pixels(server, finished, samples):
    for width in (1, 10, 500, 2_000):
        wave = peaks(server, finished.recording_id, width=width)
        assert 0.4 * width < wave["length"] <= width
        assert wave["data"] == expected(samples, wave["samples_per_pixel"])
    assert peaks(server, finished.recording_id) == wave


def test_a_finished_recordings_peaks_are_made_once_and_kept(new_server):
    server = new_server().start()
    recording_id = record(server, swelling(1.0)).recording_id
    first = server.get(f"{API}/{recording_id}/peaks", params={"samples_per_pixel": 256})
    kept = list((server.data_dir / "cache").rglob("*.dat"))
    assert len(kept) == 1
    etag = first.headers["ETag"]
    assert "no-cache" in first.headers["Cache-Control"]
    same, finer = {"samples_per_pixel": 256}, {"samples_per_pixel": 256, "bits": 16}
    again = server.get(f"{API}/{recording_id}/peaks", params=same, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    other = server.get(f"{API}/{recording_id}/peaks", params=finer, headers={"If-None-Match": etag})
    assert other.status_code == 200 and other.headers["ETag"] != etag
    assert list((server.data_dir / "cache").rglob("*.dat")) == kept
    assert server.request("DELETE", f"{API}/{recording_id}").status_code == 204
    assert not list((server.data_dir / "cache").rglob("*.dat"))
    assert server.get(f"{API}/{recording_id}/peaks").status_code == 404


def test_peaks_are_made_in_the_background_of_each_track_and_of_all(new_server):
    server = new_server("--peaks", "after:100ms").start()
    both = array.array("h", [value for sample in samples_of(swelling(1.0)) for value in (sample, -sample)])
    recording = record(server, both.tobytes(), channels=2)
    folder = server.data_dir / "cache"
    made = until("both files", lambda: len(files := sorted(folder.rglob("*.dat"))) == 2 and files)
    written = [path.stat().st_ino for path in made]
    query = {"samples_per_pixel": 256, "bits": 16}
    wave = peaks(server, recording.recording_id, track=recording.track_id, **query)
    assert wave["data"] == expected(both, 256, 16, 2)
    assert peaks(server, recording.recording_id, **query)["channels"] == 1
    assert [path.stat().st_ino for path in sorted(folder.rglob("*.dat"))] == written, "nothing was made anew"


def test_peaks_wait_while_many_are_recorded(new_server):
    server = new_server("--peaks", "after:0s").start()
    live = [Ingest(server) for _ in range(10)]
    for client in live:
        client.send(swelling(0.1))
    record(server, swelling(0.5), channels=2)
    # Two looks at what waits: both channels as one. The track's own were made while it was recorded.
    time.sleep(2.5)
    assert len(kept_of(server)) == 1
    live[0].stop()
    until("peaks", lambda: len(kept_of(server)) > 1)


def kept_of(server) -> dict:
    """The files of peaks that are kept, by what tells a file from another one of this name."""
    files = (server.data_dir / "cache").rglob("*.dat")
    return {(path.name, path.stat().st_ino): path.read_bytes() for path in files}


def call_of_two(server) -> tuple[Ingest, Ingest]:
    """Samples as they are, and G.711; one speaks for longer than the other."""
    first = Ingest(server, call="two", participant="ada", rate=16_000)
    second = Ingest(server, call="two", participant="bob", codec="mulaw", rate=8_000)
    first.send(swelling(20.0))
    second.send(bytes(range(256)) * 320)
    first.stop()
    second.stop()
    server.completed(first.recording_id)
    return first, second


def test_peaks_of_samples_are_made_while_they_are_recorded(new_server):
    ahead = new_server("--peaks", "after:1h").start()
    first, second = call_of_two(ahead)
    made = kept_of(ahead)
    assert len(made) == 3, "of each speaker, and of both"
    query = {"samples_per_pixel": 256, "bits": 16}
    alone = peaks(ahead, first.recording_id, track=first.track_id, **query)
    assert alone["data"] == expected(samples_of(swelling(20.0)), 256, 16)
    linear = samples_of(data_of(ahead.stream(first.recording_id, track=second.track_id, decode=1)))
    assert peaks(ahead, first.recording_id, track=second.track_id, **query)["data"] == expected(linear, 256, 16)
    mixed = samples_of(data_of(ahead.stream(first.recording_id, layout="mono")))
    assert peaks(ahead, first.recording_id, **query)["data"] == expected(mixed, 256, 16)
    assert kept_of(ahead) == made, "nothing was made anew"
    # The same files as those that are made of what was published; how two speakers lie to each other is another call's.
    later = new_server("--peaks", "request").start()
    first, second = call_of_two(later)
    assert kept_of(later) == {}
    for track in (first, second):
        peaks(later, first.recording_id, track=track.track_id, **query)
    assert set(kept_of(later).values()) < set(made.values())


def test_peaks_made_while_recording_are_those_of_what_is_published(new_server):
    server = new_server("--peaks", "after:1h", REELTIME_RESUME_WINDOW="0s").start()
    client = Ingest(server, participant="ada")
    client.send(swelling(40.0))
    until("a file that grows", lambda: list((server.data_dir / "cache").glob("*.part")))
    server.kill()
    server.start()
    server.completed(client.recording_id)
    assert not list((server.data_dir / "cache").glob("*.part"))
    pcm = samples_of(data_of(server.stream(client.recording_id)))
    wave = peaks(server, client.recording_id, samples_per_pixel=256, bits=16)
    assert wave["data"] == expected(pcm, 256, 16) and len(pcm) > 8 * 16_000


def test_a_store_that_lies_elsewhere_is_not_read_for_peaks(new_server, s3):
    server = new_server(**s3.settings()).start()
    first, second = call_of_two(server)
    read = server.metric("reeltime_store_bytes_total")
    for which, rate in (({}, 16_000), ({"track": first.track_id}, 16_000), ({"track": second.track_id}, 8_000)):
        assert peaks(server, first.recording_id, width=300, **which)["sample_rate"] == rate
    assert server.metric("reeltime_store_bytes_total") == read


def test_peaks_are_left_to_requests_where_that_is_set(new_server):
    server = new_server("--peaks", "request").start()
    record(server, swelling(0.5))
    time.sleep(2.5)
    assert not list((server.data_dir / "cache").rglob("*.dat"))


def test_peaks_are_made_where_nothing_is_kept(new_server):
    server = new_server("--cache-budget", "0").start()
    recording_id = record(server, swelling(1.0)).recording_id
    for _ in range(2):
        wave = peaks(server, recording_id, samples_per_pixel=256)
        assert wave["data"] == expected(samples_of(swelling(1.0)), 256)
    assert not [path for path in (server.data_dir / "cache").rglob("*") if path.is_file()]


def test_channels_and_codecs_have_their_peaks(server):
    left, right = tone(440, 1.0, 8_000, 0.9), tone(200, 1.0, 8_000, 0.2)
    both = array.array("h", [value for pair in zip(samples_of(left), samples_of(right), strict=True) for value in pair])
    stereo = record(server, both.tobytes(), rate=8_000, channels=2)
    wave = peaks(server, stereo.recording_id, track=stereo.track_id, samples_per_pixel=256, bits=16)
    assert wave["channels"] == 2 and wave["data"] == expected(both, 256, 16, 2)
    # μ-law: 0x80 is the loudest positive sample, 0x00 the loudest negative, 0xFF silence.
    mulaw = record(server, b"\x80\x00" * 256 + b"\xff" * 512, codec="mulaw", rate=8_000)
    wave = peaks(server, mulaw.recording_id, samples_per_pixel=512, bits=16)
    assert wave["data"] == [-32_124, 32_124, 0, 0]


def test_opus_tracks_have_peaks(server, speech):
    packets = judges.opus_packets(
        judges.run("opusenc", "--quiet", "--raw", "--raw-rate", "16000", "--raw-chan", "1", "-", "-", stdin=speech)
    )
    client = Ingest(server, codec="opus", rate=48_000)
    for packet in packets:
        client.socket.send(packet)
    client.stop()
    server.completed(client.recording_id)
    wave = peaks(server, client.recording_id, track=client.track_id, samples_per_pixel=480 * 10, bits=16)
    assert wave["sample_rate"] == 48_000
    heard = samples_of(judges.decode(server.stream(client.recording_id), 48_000))
    loudest = max(map(abs, heard))
    assert max(map(abs, wave["data"])) == pytest.approx(loudest, rel=0.05)


def test_the_mix_of_several_speakers_is_drawn_where_they_speak(server):
    first = Ingest(server, call="peaks of two", participant="ada")
    second = Ingest(server, call="peaks of two", participant="bob")
    first.send(tone(300, 1.0, level=0.8))
    second.send(tone(300, 3.0, level=0.2))
    first.stop()
    second.stop()
    recording = server.completed(first.recording_id)
    mixed = samples_of(data_of(server.stream(first.recording_id, layout="mono")))
    wave = peaks(server, first.recording_id, samples_per_pixel=256, bits=16)
    assert wave["data"] == expected(mixed, 256, 16)
    alone = peaks(server, first.recording_id, participant="bob", samples_per_pixel=256, bits=16)
    assert alone["data"] == expected(samples_of(tone(300, 3.0, level=0.2)), 256, 16)
    assert [track["participant"] for track in recording["tracks"]] == ["ada", "bob"]


def test_a_live_recordings_peaks_grow_with_it(server):
    audio = swelling(6.0)
    client = Ingest(server, ack="disk", participant="ada")
    assert server.get(f"{API}/{client.recording_id}/peaks").status_code == 409
    seen = []
    for second in range(1, 7):
        client.send(audio[(second - 1) * 32_000 : second * 32_000])
        client.until_acked(second * 16_000)
        wave = peaks(server, client.recording_id, track=client.track_id, samples_per_pixel=256)
        answer = server.get(f"{API}/{client.recording_id}/peaks", params={"samples_per_pixel": 256})
        assert "ETag" not in answer.headers and answer.headers["Cache-Control"] == "private, no-store"
        assert answer.json()["length"] >= wave["length"]
        # All but the last few milliseconds are there, and what was there stays.
        assert wave["length"] >= (second * 16_000 - 800) // 256
        assert wave["data"] == expected(samples_of(audio), 256)[: len(wave["data"])]
        assert wave["data"][: len(seen)] == seen
        seen = wave["data"]
        coarse = peaks(server, client.recording_id, samples_per_pixel=2_560)
        assert coarse["data"][:-2] == expected(samples_of(audio), 2_560)[: len(coarse["data"]) - 2]
    client.stop()
    server.completed(client.recording_id)
    whole = peaks(server, client.recording_id, track=client.track_id, samples_per_pixel=256)
    assert whole["data"] == expected(samples_of(audio), 256)


def test_a_live_mix_goes_on_when_a_speaker_has_left(server):
    ada = Ingest(server, call="who left", participant="ada", ack="disk")
    bob = Ingest(server, call="who left", participant="bob", ack="disk")
    ada.send(tone(300, 1.0))
    bob.send(tone(500, 1.0))
    ada.until_acked(16_000)
    bob.until_acked(16_000)
    assert peaks(server, ada.recording_id, samples_per_pixel=256)["length"] > 55
    ada.stop()
    bob.send(tone(500, 9.0))
    bob.until_acked(160_000)

    def grown():
        return peaks(server, bob.recording_id, samples_per_pixel=256)["length"] > 150

    until("the mix to go on without ada", grown, seconds=15, every=0.5)
    bob.stop()


@pytest.mark.parametrize(
    "query",
    [
        {"samples_per_pixel": 0},
        {"samples_per_pixel": "x"},
        {"width": -1},
        {"width": 5, "samples_per_pixel": 5},
        {"bits": 12},
        {"format": "png"},
        {"track": "nobody"},
        {"participant": "nobody"},
    ],
    ids=json.dumps,
)
def test_wrong_fields_are_problems(server, finished, query):
    answer = server.get(f"{API}/{finished.recording_id}/peaks", params=query)
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert any(name in answer.json()["detail"] for name in query)


def test_more_pixels_than_anyone_draws_are_refused_with_what_to_ask_for(server):
    client = record(server, bytes(2 * 1_000_100), rate=16_000)
    answer = server.get(f"{API}/{client.recording_id}/peaks", params={"samples_per_pixel": 1})
    assert answer.status_code == 422
    assert "at least 256" in answer.json()["detail"] and "at most 1000000" in answer.json()["detail"]
    assert peaks(server, client.recording_id, samples_per_pixel=256)["length"] == 3_907


def test_head_tells_what_get_would(server, finished):
    for written in ("json", "dat"):
        path = f"{API}/{finished.recording_id}/peaks?format={written}"
        head, got = server.request("HEAD", path), server.get(path, headers={"Range": "bytes=0-3"})
        assert (head.status_code, head.content, got.status_code) == (200, b"", 200)
        assert head.headers["ETag"] == got.headers["ETag"]
        assert head.headers.get("Content-Length") == got.headers.get("Content-Length")
