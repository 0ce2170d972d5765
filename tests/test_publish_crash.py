"""Killed at each step from the log to the store and back: afterwards everything is there once, and nothing else is."""

import shutil
import sqlite3
from contextlib import suppress

import pytest
import requests
from harness.clients import Ingest
from harness.judges import wave_file
from harness.oracle import indexed_pcm
from harness.server import until
from websockets.exceptions import ConnectionClosed

SAMPLES = 16_000
PCM = {name: indexed_pcm(f"crash: {name}", SAMPLES) for name in ("anna", "ben")}
"""What the two speakers of a call say: a file each, a mix and a manifest come of it."""
STEPS = ["staged:1", "staged:2", "staged:3", "staged:4", "uploaded", "published", "releasing:1", "releasing:2", "released"]


@pytest.fixture(params=["folder", "s3"])
def stored(request):
    """What the store is: the server's settings for it, and every object's key and size, with whatever else lies there."""
    if request.param == "s3":
        s3 = request.getfixturevalue("s3")

        def ours(_) -> dict[str, int]:
            # A kill while the right to delete was looked into leaves the probe.
            found = {key.removeprefix("calls/"): size for key, size in s3.objects("calls/").items()}
            return {key: size for key, size in found.items() if not key.startswith("_reeltime/probe/")}

        return s3.settings("calls"), ours
    return {}, files


@pytest.fixture
def crashing(new_server, stored):
    """A server that records a call of two; it is killed at a step while that is published."""
    settings, _ = stored

    def run(step: str):
        settings.update(REELTIME_CALL_LINGER="0s", REELTIME_CRASH_AT=step, REELTIME_RESUME_WINDOW="1s")
        server = new_server(**settings).start()
        clients = {name: Ingest(server, call="crash", participant=name) for name in PCM}
        for name, client in clients.items():
            client.send(PCM[name])
        for client in clients.values():
            client.tell("stop")
        # The last word may be lost with the server.
        for client in clients.values():
            with suppress(ConnectionClosed, OSError):
                client.message("stopped")
        until(f"the kill at {step}", lambda: server.process.poll() is not None)
        assert server.process.returncode == -9
        del server.settings["REELTIME_CRASH_AT"]
        return server, clients["anna"].recording_id

    return run


def rows(server) -> dict[str, str]:
    """Every object's key in the catalogue, with its state."""
    with sqlite3.connect(f"file:{server.data_dir}/reeltime.db?mode=ro", uri=True) as catalogue:
        return dict(catalogue.execute("SELECT key, state FROM objects"))


def files(server) -> dict[str, int]:
    folder = server.data_dir / "objects"
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def logs(server) -> list[str]:
    return [path.name for path in (server.data_dir / "spool").iterdir() if path.suffix in (".log", ".wav")]


def is_tidy(server, objects) -> bool:
    """What is in the store is what the catalogue says, and the spool is empty."""
    known = rows(server)
    return set(known.values()) <= {"published"} and set(objects(server)) == set(known) and not logs(server)


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_on_the_way_to_the_store_leaves_all_of_it_once(crashing, stored, step):
    _, objects = stored
    server, recording = crashing(step)
    server.start()
    details = server.completed(recording)
    until("everything to be in its place", lambda: is_tidy(server, objects))
    assert len(objects(server)) == 4, objects(server)
    assert [item["id"] for item in server.recordings()] == [recording]
    for name, pcm in PCM.items():
        assert wave_file(server.stream(recording, participant=name))[1] == pcm
    assert details["participants"] == ["anna", "ben"]
    assert server.recording(recording)["bytes"]["spool"] == 0
    assert server.recording(recording)["bytes"]["published"] == sum(objects(server).values())
    # A second kill and start changes nothing.
    before = objects(server)
    server.kill()
    server.start()
    assert server.completed(recording)["id"] == recording
    assert is_tidy(server, objects) and objects(server) == before


@pytest.mark.parametrize("step", ["staged:1", "uploaded"])
def test_what_others_put_there_stays_and_nothing_has_to_be_deleted(new_server, s3, step):
    """Whoever may put, get and list, and not delete, has the recording published all the same."""
    s3.client().put_object(Bucket=s3.bucket, Key="calls/c/anna.wav", Body=b"somebody else's")
    user = s3.user("uploader", "not-a-secret-either", "s3:PutObject", "s3:GetObject", "s3:ListBucket")
    settings = s3.settings("calls", REELTIME_KEY_TEMPLATE="{call}/{participant}.{ext}", **user)
    server = new_server(**settings, REELTIME_CRASH_AT=step, REELTIME_CALL_LINGER="0s").start()
    client = Ingest(server, call="c", participant="anna")
    client.send(PCM["anna"])
    with suppress(ConnectionClosed, OSError):
        client.stop()
    until(f"the kill at {step}", lambda: server.process.poll() is not None)
    del server.settings["REELTIME_CRASH_AT"]
    server.start()
    server.completed(client.recording_id)
    assert s3.read("calls/c/anna.wav") == b"somebody else's"
    assert wave_file(s3.read("calls/c/anna-2.wav"))[1] == PCM["anna"]
    ours = {"c/anna-2.wav", f"_reeltime/manifests/{client.recording_id}.json"}
    assert rows(server) == dict.fromkeys(ours, "published")
    probes = {key for key in s3.objects("calls/") if "/probe/" in key}
    assert set(s3.objects("calls/")) - probes == {"calls/c/anna.wav"} | {f"calls/{key}" for key in ours}


def test_what_was_uploaded_for_a_recording_that_is_lost_is_removed(crashing, stored):
    _, objects = stored
    server, recording = crashing("uploaded")
    assert len(objects(server)) == 4
    shutil.rmtree(server.data_dir / "spool")
    # Killed again while it is removed, between an object and its row.
    server.settings["REELTIME_CRASH_AT"] = "deleted"
    with suppress(AssertionError, requests.ConnectionError):
        server.start()
    until("the kill", lambda: server.process.poll() is not None)
    assert len(objects(server)) == 3 and len(rows(server)) == 4
    del server.settings["REELTIME_CRASH_AT"]
    server.start()
    until("all of it to go", lambda: not objects(server) and not rows(server))
    assert server.get(f"/api/v1/recordings/{recording}").status_code == 404


def test_a_kill_while_a_recording_is_deleted_leaves_nothing_of_it(new_server, stored):
    settings, objects = stored
    server = new_server(**settings, REELTIME_CRASH_AT="deleted").start()
    client = Ingest(server)
    client.send(PCM["anna"])
    client.stop()
    server.completed(client.recording_id)
    with pytest.raises(requests.ConnectionError):
        server.request("DELETE", f"/api/v1/recordings/{client.recording_id}")
    until("the kill", lambda: server.process.poll() is not None)
    assert len(objects(server)) == 1 and len(rows(server)) == 2
    del server.settings["REELTIME_CRASH_AT"]
    server.start()
    assert server.recordings() == []
    until("the rest to go", lambda: not objects(server) and not rows(server))
