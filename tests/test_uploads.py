"""Files that go to a real S3 in parts while their call lasts: killed at any step, what is published is what was sent."""

import os
import time
from array import array
from contextlib import suppress
from pathlib import Path

import pytest
from harness.clients import Ingest
from harness.judges import wave_file
from harness.oracle import indexed_pcm
from harness.server import until
from websockets.exceptions import ConnectionClosed

MINUTE = 60 * 16_000
MESSAGE = 64_000


class Speaker:
    """Sends its sound as fast as it is taken, and goes on with it wherever the server says."""

    def __init__(self, server, name: str, samples: int):
        self.name, self.pcm = name, indexed_pcm(name, samples)
        self.client = Ingest(server, call="seven minutes", participant=name)
        self.recording, self.token = self.client.recording_id, self.client.token

    def resume(self, server) -> None:
        self.client = Ingest(server, call="seven minutes", participant=self.name, resume_token=self.token)

    def send(self) -> None:
        self.client.send(self.pcm[2 * self.client.resume_at :], MESSAGE)


def speak(server, speakers: list[Speaker], wait: float) -> None:
    """All of it, and after a while the end; less where the server dies."""
    with suppress(ConnectionClosed, OSError):
        for speaker in speakers:
            speaker.send()
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline and server.process.poll() is None:
            time.sleep(0.1)
        for speaker in speakers:
            speaker.client.stop()


def keys(s3) -> dict[str, str]:
    """The objects of recordings by their last word: a participant, or the mix's layout."""
    return {key.rsplit("-", 1)[1]: key for key in s3.objects("rec/recordings/")}


def check(server, s3, speakers: list[Speaker]) -> None:
    """Each object holds what was sent, the mix what is mixed of them anew, and nothing else is there."""
    recording = speakers[0].recording
    server.completed(recording, seconds=90)
    stored = {name: s3.read(key) for name, key in keys(s3).items()}
    for speaker in speakers:
        assert wave_file(stored.pop(f"{speaker.name}.wav"))[1] == speaker.pcm
    # Asked at its own rate, a mix is made of the tracks instead of read.
    assert stored.pop("mono.wav") == server.stream(recording, format="wav", layout="mono", rate=16_000)
    assert not stored
    until("no upload to be open", lambda: not s3.uploads())


def test_a_long_call_is_in_the_store_while_it_lasts_and_its_end_is_cheap(new_server, s3):
    server = new_server(**s3.settings("rec")).start()
    speakers = [Speaker(server, name, 9 * MINUTE) for name in ("ann", "ben")]
    for speaker in speakers:
        speaker.send()
    until("three uploads", lambda: len(s3.uploads()) == 3, seconds=60)
    until("all whole parts but the first", lambda: server.metric("reeltime_upload_parts_sent_total") == 6, seconds=60)
    for speaker in speakers:
        speaker.client.stop()
    check(server, s3, speakers)
    # Of each of three files, a first part and a tail.
    assert server.metric("reeltime_upload_parts_sent_total") == 12
    assert server.metric("reeltime_live_mixes_total") == 1
    assert 'reeltime_live_mixes_total{end="kept"} 1' in server.get("/metrics").text
    # Its peaks were made with it: the store is not asked for them.
    read = server.metric("reeltime_store_bytes_total")
    drawn = server.get(f"/api/v1/recordings/{speakers[0].recording}/peaks", params={"samples_per_pixel": 256, "bits": 16})
    assert server.metric("reeltime_store_bytes_total") == read
    mixed = array("h", server.stream(speakers[0].recording, format="wav", layout="mono", rate=16_000)[44:])
    pixels = [mixed[at : at + 256] for at in range(0, len(mixed), 256)]
    assert drawn.json()["data"] == [value for pixel in pixels for value in (min(pixel), max(pixel))]


@pytest.mark.parametrize("step", ["upload_begun:1", "part_put:3"])
def test_a_server_killed_while_it_uploads_what_grows(new_server, s3, step):
    server = new_server(**s3.settings("rec", REELTIME_CRASH_AT=step)).start()
    speakers = [Speaker(server, name, 7 * MINUTE) for name in ("ann", "ben")]
    speak(server, speakers, wait=20)
    until("the server to be killed", lambda: server.process.poll() is not None, seconds=30)
    del server.settings["REELTIME_CRASH_AT"]
    server.start()
    for speaker in speakers:
        with suppress(ConnectionClosed, AssertionError):
            speaker.resume(server)
            speaker.send()
            speaker.client.stop()
    check(server, s3, speakers)


@pytest.mark.parametrize("step", ["parts_complete:2", "published:1"])
def test_a_server_killed_when_all_was_sent(new_server, s3, step):
    server = new_server(**s3.settings("rec", REELTIME_CRASH_AT=step)).start()
    speakers = [Speaker(server, name, 7 * MINUTE) for name in ("ann", "ben")]
    speak(server, speakers, wait=3)
    until("the server to be killed", lambda: server.process.poll() is not None, seconds=60)
    del server.settings["REELTIME_CRASH_AT"]
    server.start()
    check(server, s3, speakers)


def test_what_waits_for_a_store_that_is_away_keeps_no_file_open(new_server, s3):
    server = new_server(**s3.settings("rec")).start()

    def files_that_grow() -> list[str]:
        places = []
        for descriptor in Path(f"/proc/{server.process.pid}/fd").iterdir():
            # It may be closed by now.
            with suppress(FileNotFoundError):
                places.append(os.readlink(descriptor))
        return [place for place in places if ".part" in place]

    speakers = [Speaker(server, name, 4 * MINUTE) for name in ("ann", "ben")]
    for speaker in speakers:
        speaker.send()
    until("the mix to grow", files_that_grow, seconds=30)
    s3.kill()
    for speaker in speakers:
        speaker.client.stop()
    until("the store to be known as away", lambda: not server.metric("reeltime_store_up"), seconds=60)
    until("no file to be open", lambda: not files_that_grow())
    s3.start()
    check(server, s3, speakers)
