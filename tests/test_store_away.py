"""The store is away for a while: who talks feels nothing, and what ended meanwhile arrives once."""

import json
import os
import time

import pytest
from harness.clients import Ingest
from harness.judges import tone, wave_file
from harness.oracle import indexed_pcm
from harness.segments import Recording, Segment
from harness.server import as_root, run_reeltime, until

COUNT = 20


@pytest.fixture
def disk(tmp_path):
    """The store's own disk, of 16 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", f"size=16m,uid={os.getuid()},mode=0700", "tmpfs", str(disk))
    yield disk
    as_root("umount", "--lazy", str(disk))


def fill(disk) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler:
        for size in (1 << 16, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                continue


def record(server, name: str) -> str:
    client = Ingest(server, ack="disk")
    client.send(indexed_pcm(name, 8_000))
    client.stop()
    return client.recording_id


def status(server) -> dict:
    answer = server.get("/api/v1/store")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_store_without_space_is_waited_for_while_calls_go_on(new_server, disk):
    server = new_server("--store-url", f"file://{disk}/objects", REELTIME_RENDITIONS="none").start()
    assert status(server)["kind"] == "file" and status(server)["place"] == f"file://{disk}/objects"
    first = record(server, "before")
    server.completed(first)
    assert status(server)["health"]["up"] is True
    fill(disk)
    live = Ingest(server, ack="disk")
    said = indexed_pcm("live", 32_000)
    live.send(said[:32_000])
    ended = {record(server, f"ended {n}"): f"ended {n}" for n in range(COUNT)}
    found = until("the store to be known as away", lambda: (s := status(server))["backlog"]["outage_seconds"] and s)
    assert found["health"]["up"] is False and found["health"]["away_since"] is not None
    assert "No space left" in found["health"]["last_failure"]
    assert found["backlog"]["recordings"] == COUNT
    assert found["backlog"]["bytes"] > COUNT * 16_000
    assert 0 < found["spool"]["room_hours"]
    ready = server.get("/readyz")
    assert (ready.status_code, ready.json()["backlog_recordings"]) == (200, COUNT), ready.text
    assert server.metric("reeltime_backlog_recordings") == server.metric("recording_queue_depth") == COUNT
    assert server.metric("reeltime_store_up") == 0
    shown = run_reeltime("store", "status", "--to", server.url(""), cwd=server.home)
    assert shown.returncode == 0, shown.stderr
    assert "does not answer since" in shown.stdout and f"backlog  {COUNT} recordings" in shown.stdout
    # Who talks is heard as before.
    live.send(said[32_000:])
    live.until_acked(32_000)
    (disk / "filler").unlink()
    watched = run_reeltime("store", "status", "--to", server.url(""), "--watch", "--json", cwd=server.home, seconds=60)
    assert watched.returncode == 0, watched.stderr
    last = json.loads(watched.stdout)
    assert last["backlog"]["recordings"] == 0 and last["health"]["up"] is True
    live.stop()
    ended |= {live.recording_id: None}
    for recording, name in ended.items():
        sent = said if name is None else indexed_pcm(name, 8_000)
        server.completed(recording)
        assert wave_file(server.stream(recording))[1] == sent
    stored = [path for path in (disk / "objects").rglob("*.wav")]
    assert len(stored) == COUNT + 2, "each once"
    assert server.metric("recording_jobs_success_total") == COUNT + 2
    assert server.metric("recording_queue_depth") == 0


def test_uploads_keep_to_their_bandwidth(new_server):
    server = new_server(REELTIME_UPLOAD_BANDWIDTH="256KiB").start()
    client = Ingest(server, ack="disk")
    # With a pause in it the file is made and sent; without, the folder would only link to it.
    audio = indexed_pcm("bandwidth", 1 << 18)
    client.send(audio, frame=32_000)
    client.tell("pause")
    client.send(bytes(32_000))
    client.tell("resume")
    client.send(audio, frame=32_000)
    client.until_acked((1 << 19) + 16_000)
    stopped = time.monotonic()
    client.stop()
    details = server.completed(client.recording_id, 30)
    # A mebibyte at a quarter of one a second, less what a rest may save up.
    assert time.monotonic() - stopped >= 3.5
    data = wave_file(server.stream(client.recording_id))[1]
    assert data.startswith(audio) and data.endswith(audio)
    assert server.metric("reeltime_store_bytes_total") >= details["bytes"]["published"] >= 1 << 20


def test_an_s3_that_is_stopped_and_killed_is_waited_for_and_has_everything_once(new_server, s3):
    server = new_server(**s3.settings("calls"), REELTIME_RENDITIONS="none").start()
    assert (status(server)["kind"], status(server)["remote"]) == ("s3", True)
    said, live = indexed_pcm("live", 64_000), Ingest(server, ack="disk")
    ended = {}

    def go_on(until_sample: int, since: int) -> None:
        """Who talks is heard, and calls end, whatever the store does."""
        live.send(said[2 * since : 2 * until_sample])
        for n in range(COUNT):
            name = f"{until_sample} {n}"
            ended[record(server, name)] = name
        live.until_acked(until_sample)

    go_on(16_000, 0)
    s3.suspend()
    go_on(32_000, 16_000)
    s3.kill()
    go_on(48_000, 32_000)
    found = until("the store to be known as away", lambda: (f := status(server))["health"]["away_since"] and f, 60)
    assert found["backlog"]["recordings"] >= COUNT, found
    s3.start()
    go_on(64_000, 48_000)
    live.stop()
    ended[live.recording_id] = None
    for recording, name in ended.items():
        server.completed(recording, 90)
        assert wave_file(server.stream(recording))[1] == (said if name is None else indexed_pcm(name, 8_000))
    found = until("nothing to wait", lambda: (f := status(server))["backlog"]["recordings"] == 0 and f)
    assert found["health"]["up"] is True and found["backlog"]["outage_seconds"] is None
    stored = [key for key in s3.objects("calls/recordings/") if key.endswith(".wav")]
    assert len(stored) == len(ended) == 4 * COUNT + 1, "each once"
    secret = s3.settings()["AWS_SECRET_ACCESS_KEY"]
    assert secret not in server.log() and secret not in json.dumps(found)


def test_what_is_deleted_while_the_store_is_away_is_gone_at_once_and_its_bytes_when_it_is_back(new_server, s3):
    settings = s3.settings("calls", REELTIME_SEGMENTS="store", REELTIME_RENDITIONS="none")
    server = new_server(**settings).start()
    over, live = Recording(server, "over"), Recording(server, "live")
    sent = [each.send(Segment.tone("alice", 0, 0, 440)) for each in (over, live)]
    over.finalize(sent[:1])
    server.completed(over.id)
    talk, grown = Ingest(server, ack="disk"), Ingest(server, ack="disk")
    talk.send(tone(440, 1.0) + bytes(96_000))
    grown.send(bytes(16 << 20))
    until("a segment of it to be stored", lambda: s3.objects(f"calls/recordings/{talk.recording_id}/"))
    until("it to be uploaded as it grows", s3.unfinished)
    ids = [over.id, live.id, talk.recording_id, grown.recording_id]
    s3.kill()
    for _ in range(2):
        answers = [server.request("DELETE", f"/api/v1/recordings/{each}") for each in ids]
        assert [answer.status_code for answer in answers] == [204] * 4, [answer.text for answer in answers]
    for each in ids:
        assert server.get(f"/api/v1/recordings/{each}").status_code == 404
        assert server.get(f"/api/recordings/{each}").status_code == 404
    assert not [path for path in (server.data_dir / "segments").rglob("*.flac")]
    server.terminate()
    s3.start()
    server.start()
    kept = ("calls/recordings/", "calls/_reeltime/manifests/")
    until("nothing to be left", lambda: not any(map(s3.objects, kept)) and not s3.unfinished(), 30)
    until("no mark to be left", lambda: not list((server.data_dir / "segments").iterdir()))
