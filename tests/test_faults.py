"""Faults: killed, stopped, full, failing and stalled. What was acknowledged is there afterwards, and nothing is there twice."""

import contextlib
import os
import random
import socket
import subprocess
import threading
import time
from urllib.parse import urlsplit

import pytest
import requests
from harness.clients import Ingest
from harness.judges import data_of, wave_file
from harness.oracle import compare, indexed_pcm
from harness.server import as_root, of_tracks, on_disk, until
from websockets.exceptions import ConnectionClosed, InvalidStatus

SYNCS = "fdatasync,fsync,syncfs"


def wav_data(server, recording_id: str) -> bytes:
    return wave_file(server.stream(recording_id))[1]


def test_a_killed_server_goes_on_where_its_clients_were(new_server):
    server = new_server().start()
    pcm = indexed_pcm("killed", 96_000)
    client = Ingest(server, ack="disk", call="killed")
    client.send(pcm[:96_000])
    client.until_acked(16_000)
    server.kill()
    acked = client.acked
    server.start()
    again = Ingest(server, resume_token=client.token, ack="disk")
    assert acked <= again.resume_at <= 48_000
    assert again.recording_id == client.recording_id
    again.send(pcm[2 * again.resume_at :])
    assert again.stop() == 96_000
    server.completed(client.recording_id)
    verdict = compare(wav_data(server, client.recording_id), pcm)
    assert verdict.intact, verdict


def test_a_recording_whose_client_never_returns_ends_after_a_kill(new_server):
    server = new_server(REELTIME_RESUME_WINDOW="1s").start()
    pcm = indexed_pcm("never returns", 48_000)
    client = Ingest(server, ack="disk")
    client.send(pcm)
    client.until_acked(32_000)
    server.kill()
    server.start()
    server.completed(client.recording_id)
    data = wav_data(server, client.recording_id)
    assert pcm.startswith(data) and len(data) // 2 >= client.acked


def test_what_was_complete_before_a_kill_is_the_same_after_it(new_server):
    server = new_server().start()
    client = Ingest(server)
    client.send(indexed_pcm("complete", 16_000))
    client.stop()
    server.completed(client.recording_id)
    before = server.stream(client.recording_id)
    for _ in range(3):
        server.kill()
        server.start()
        assert server.stream(client.recording_id) == before
        assert [item["id"] for item in server.recordings()] == [client.recording_id]


def test_a_kill_during_a_pause_leaves_none_of_it(new_server):
    server = new_server().start()
    before, secret = indexed_pcm("kill: before", 16_000), indexed_pcm("kill: secret", 16_000)
    client = Ingest(server, ack="disk")
    client.send(before)
    client.tell("pause")
    client.send(secret)
    client.until_acked(32_000)
    server.kill()
    assert on_disk(server, before) and not on_disk(server, secret)
    server.start()
    again = Ingest(server, resume_token=client.token)
    assert again.resume_at == 32_000
    again.send(secret)
    again.stop()
    server.completed(client.recording_id)
    assert not on_disk(server, secret), "the pause did not outlive the kill"


def test_sigterm_drains_seals_and_loses_nothing(new_server):
    server = new_server().start()
    voices = {}
    for number in range(20):
        client = Ingest(server, ack="disk", call=f"drained {number}")
        voices[client] = indexed_pcm(f"drained {number}", 16_000)
        client.send(voices[client])
    ends = {}
    readers = [threading.Thread(target=lambda c=client: ends.update({c: c.closed(30)})) for client in voices]
    for reader in readers:
        reader.start()
    asked = time.monotonic()
    assert server.terminate(50) == 0
    assert time.monotonic() - asked < 50
    for reader in readers:
        reader.join(30)
    assert {code for code, _ in ends.values()} == {1012}
    assert all(reason for _, reason in ends.values())
    server.start()
    for client, pcm in voices.items():
        data = data_of(server.stream(client.recording_id))
        assert pcm.startswith(data) and len(data) // 2 >= client.acked


def test_a_drained_client_resumes_at_the_next_server(new_server):
    server = new_server().start()
    pcm = indexed_pcm("rolling restart", 48_000)
    client = Ingest(server, ack="disk")
    client.send(pcm[:48_000])
    client.until_acked(24_000)
    assert server.terminate() == 0
    assert client.closed()[0] == 1012
    server.start()
    again = Ingest(server, resume_token=client.token)
    assert again.resume_at == 24_000
    again.send(pcm[48_000:])
    assert again.stop() == 48_000
    server.completed(client.recording_id)
    assert wav_data(server, client.recording_id) == pcm


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", f"size=64m,uid={os.getuid()},mode=0700", "tmpfs", str(disk))
    yield disk
    as_root("umount", "--lazy", str(disk))


def fill(folder) -> None:
    """Take every free byte."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        for size in (1 << 20, 4_096, 1):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                continue


def is_refused_as_full(server) -> bool:
    """Whether a new session is turned away: 507 before it is a WebSocket, or 1013 after."""
    try:
        client = Ingest(server)
    except InvalidStatus as answer:
        return answer.response.status_code == 507
    except ConnectionClosed as end:
        return end.rcvd is not None and end.rcvd.code == 1013
    client.close()
    return False


def test_a_full_disk_refuses_new_calls_first_and_loses_nothing_acknowledged(new_server, small_disk):
    server = new_server(data_dir=small_disk / "data", REELTIME_RESUME_WINDOW="1s", REELTIME_RESERVE="16MiB").start()
    pcm = indexed_pcm("full", 64_000)
    client = Ingest(server, ack="disk")
    client.send(pcm[:32_000])
    client.until_acked(16_000)
    for _ in range(3):
        fill(small_disk)
        until("new sessions to be refused", lambda: is_refused_as_full(server), every=0.1)
        assert server.get("/readyz").status_code == 503
        assert server.get("/healthz").status_code == 200
        (small_disk / "filler").unlink()
        until("room again", lambda: server.get("/readyz").status_code == 200)
        Ingest(server).stop()
    client.send(pcm[32_000:])
    assert client.stop() == 64_000
    server.completed(client.recording_id)
    assert wav_data(server, client.recording_id) == pcm


def test_a_live_call_on_a_full_disk_ends_playable_with_what_was_acknowledged(new_server, small_disk):
    server = new_server(data_dir=small_disk / "data", REELTIME_RESUME_WINDOW="1s", REELTIME_RESERVE="16MiB").start()
    pcm = indexed_pcm("full and live", 96_000)
    client = Ingest(server, ack="disk")
    client.send(pcm[:64_000])
    client.until_acked(32_000)
    fill(small_disk)
    client.send(pcm[64_000:])
    (small_disk / "filler").unlink()
    until("room again", lambda: server.get("/readyz").status_code == 200)
    client.stop()
    recording = server.completed(client.recording_id)
    verdict = compare(wav_data(server, client.recording_id), pcm)
    assert (verdict.duplicated, verdict.foreign) == (0, 0), verdict
    assert verdict.runs[0].source == 0 and verdict.runs[0].length >= 32_000
    assert verdict.lost == 0 or of_tracks(recording, "gaps"), "what is missing is not said"


def timed(what: str, check, seconds: float, figures: dict[str, float]) -> None:
    """Wait for `check` and keep the longest wait."""
    began = time.monotonic()
    until(what, check, seconds)
    figures[what] = max(figures.get(what, 0.0), time.monotonic() - began)


def test_a_disk_filled_and_freed_again_and_again_loses_nothing_acknowledged(new_server, small_disk, request):
    """Each round: full, new sessions refused, live ones go on into the reserve and one beyond it, space again."""
    fills = request.config.getoption("--fills")
    server = new_server(data_dir=small_disk / "data", REELTIME_RESUME_WINDOW="1s", REELTIME_RESERVE="4MiB").start()
    figures = {}
    for number in range(fills):
        quiet, loud = (Ingest(server, ack="disk", call=f"{name} {number}") for name in ("quiet", "loud"))
        few, many = indexed_pcm(f"quiet {number}", 48_000), indexed_pcm(f"loud {number}", 4 << 20)
        quiet.send(few[:32_000])
        loud.send(many[:32_000])
        quiet.until_acked(16_000)
        fill(small_disk)
        timed("new sessions to be refused", lambda: is_refused_as_full(server), 10, figures)
        timed("an answer that refuses", lambda: is_refused_as_full(server), 1, figures)
        quiet.send(few[32_000:64_000])
        quiet.until_acked(32_000)
        loud.send(many[32_000:], frame=64_000)
        (small_disk / "filler").unlink()
        timed("room again", lambda: server.get("/readyz").status_code == 200, 10, figures)
        quiet.send(few[64_000:])
        assert quiet.stop() == 48_000
        loud.stop()
        for client, pcm in ((quiet, few), (loud, many)):
            recording = server.completed(client.recording_id, 60)
            data = wav_data(server, client.recording_id)
            assert data[: 2 * client.acked] == pcm[: 2 * client.acked], "acknowledged audio is not there"
            assert data == pcm or {gap["reason"] for gap in of_tracks(recording, "gaps")} == {"overflow"}
            server.request("DELETE", f"/api/v1/recordings/{client.recording_id}")
    assert server.metric("reeltime_overflow_samples_total") > 0, "the disk was never full for live calls"
    print(figures)


def under_strace(new_server, tmp_path, inject: str, **settings):
    traced = (
        "strace",
        "-f",
        "-qqq",
        "-o",
        str(tmp_path / "strace.log"),
        "-e",
        f"trace={SYNCS}",
        "-e",
        f"inject={SYNCS}:{inject}",
    )
    return new_server(prefix=traced, **settings)


@pytest.mark.parametrize("nth", range(1, 11))
def test_a_sync_that_fails_is_never_acknowledged_as_done(new_server, tmp_path, nth):
    """The nth sync of the process fails with EIO; then the server is killed: what it had acknowledged is there."""
    server = under_strace(new_server, tmp_path, f"error=EIO:when={nth}", REELTIME_RESUME_WINDOW="1s")
    try:
        server.start()
    except AssertionError:
        assert server.process.wait(20) == 1 and "panicked" not in server.log(), server.log()
        return
    pcm = indexed_pcm(f"EIO {nth}", 48_000)
    client = Ingest(server, ack="disk")
    for at in range(0, len(pcm), 16_000):
        client.send(pcm[at : at + 16_000])
        until_acked_or_closed(client, (at + 16_000) // 2)
    os.kill(server.pid, 9)
    server.process.wait(20)
    assert "EIO" in (tmp_path / "strace.log").read_text(), "no sync failed"
    server.prefix = ()
    server.start()
    server.completed(client.recording_id)
    verdict = compare(wav_data(server, client.recording_id), pcm)
    assert (verdict.duplicated, verdict.foreign, verdict.shifted) == (0, 0, 0), verdict
    heard = sum(run.length for run in verdict.runs if run.source is not None and run.source < client.acked)
    gaps = of_tracks(server.recording(client.recording_id), "gaps")
    assert verdict.runs[0].length >= client.acked or (gaps and heard), (client.acked, verdict, gaps)


def until_acked_or_closed(client: Ingest, samples: int) -> None:
    """A failing disk may end a session, not hang it."""
    with contextlib.suppress(ConnectionClosed):
        client.until_acked(samples)


def test_a_disk_that_stalls_disconnects_nobody_and_loses_nothing(new_server, tmp_path):
    server = under_strace(new_server, tmp_path, "delay_enter=3000000:when=15+40").start()
    voices = {}
    for number in range(10):
        client = Ingest(server, ack="disk", call=f"stalled {number}")
        voices[client] = indexed_pcm(f"stalled {number}", 64_000)
    for at in range(0, 128_000, 6_400):
        for client, pcm in voices.items():
            client.send(pcm[at : at + 6_400])
        time.sleep(0.2)
    for client, pcm in voices.items():
        assert client.stop() == 64_000
        server.completed(client.recording_id, 30)
        assert wav_data(server, client.recording_id) == pcm


def test_links_that_break_at_random_lose_nothing(server):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    pcm = indexed_pcm(f"links {seed}", 160_000)
    client = Ingest(server)
    token, recording_id = client.token, client.recording_id
    while client.resume_at < 120_000:
        end = client.resume_at + chance.randrange(1, 40_000)
        client.send(pcm[2 * client.resume_at : 2 * end], frame=2 * chance.randrange(1, 3_000))
        if chance.random() < 0.5:
            client.cut()
        client = Ingest(server, resume_token=token)
    client.send(pcm[2 * client.resume_at :])
    assert client.stop() == 160_000
    server.completed(recording_id)
    verdict = compare(wav_data(server, recording_id), pcm)
    assert verdict.intact, verdict


def test_a_server_without_descriptors_goes_on_with_its_calls_and_takes_new_ones_later(new_server):
    server = new_server(prefix=("prlimit", "--nofile=90:90")).start()
    pcm = indexed_pcm("few descriptors", 32_000)
    client = Ingest(server, ack="disk", call="live")
    host, port = urlsplit(server.url("/")).netloc.split(":")
    held = [socket.create_connection((host, int(port)), timeout=5) for _ in range(150)]
    for at in range(0, len(pcm), 6_400):
        client.send(pcm[at : at + 6_400])
    client.until_acked(32_000)
    assert "raise the limit of open files" in server.log() and "cannot create a log file" not in server.log()
    with pytest.raises(requests.RequestException):
        server.get("/healthz").raise_for_status()
    for connection in held:
        connection.close()
    until("it takes connections again", lambda: server.get("/readyz").status_code == 200)
    assert client.stop() == 32_000
    server.completed(client.recording_id)
    assert wav_data(server, client.recording_id) == pcm
