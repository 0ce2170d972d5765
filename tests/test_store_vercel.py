"""Recordings in Vercel Blob. Vercel's own client says whether the service of our tests is one, and reads what we write."""

import pytest
from harness.clients import Ingest
from harness.judges import wave_file
from harness.oracle import indexed_pcm
from harness.server import until
from harness.vercel import VercelBlob


@pytest.fixture(params=["private", "public"])
def vercel(request):
    """A service of this test alone: `new_server(**vercel.settings("prefix"))` records into it."""
    service = VercelBlob(request.param)
    yield service
    service.stop()


def recorded(server, pcm: bytes) -> str:
    """Sent and stopped; the recording's id once it is complete."""
    client = Ingest(server)
    client.send(pcm)
    client.stop()
    server.completed(client.recording_id, seconds=60)
    return client.recording_id


def test_vercels_own_client_is_served_as_by_the_service(vercel):
    vercel.client("exercise")


# 96,000 samples fit into one request; 4,000,000 are uploaded in parts.
@pytest.mark.parametrize("samples", [96_000, 4_000_000])
def test_vercels_own_client_reads_what_was_recorded(new_server, vercel, samples):
    server = new_server(**vercel.settings("our/own")).start()
    pcm = indexed_pcm("in the blob store", samples)
    recording = recorded(server, pcm)
    objects = vercel.objects()
    assert all(pathname.startswith("our/own/") for pathname in objects)
    [(kind, stored)] = [each for pathname, each in objects.items() if pathname.endswith(".wav")]
    assert kind == "audio/wav"
    assert wave_file(stored)[1] == pcm
    assert server.stream(recording) == stored


def test_a_range_of_a_recording_comes_from_the_store(new_server, vercel):
    server = new_server(**vercel.settings()).start()
    recording = recorded(server, indexed_pcm("ranges", 48_000))
    whole = server.stream(recording)
    path = f"/api/v1/recordings/{recording}/stream"
    part = server.get(path, headers={"range": "bytes=40001-40100"})
    assert part.status_code == 206
    assert part.content == whole[40_001:40_101]


def test_the_token_is_in_no_log(new_server, vercel):
    server = new_server(**vercel.settings(), REELTIME_LOG="trace").start()
    recorded(server, indexed_pcm("secrets", 16_000))
    secret = vercel.token.rsplit("_", 1)[1]
    assert secret not in server.log()
    wrong = new_server(**vercel.settings(), REELTIME_LOG="trace")
    wrong.settings["BLOB_READ_WRITE_TOKEN"] = vercel.token + "wrong"
    wrong.start()
    client = Ingest(wrong)
    client.send(indexed_pcm("secrets", 16_000))
    client.stop()
    until("the refusal in the log", lambda: "BLOB_READ_WRITE_TOKEN" in wrong.log())
    assert secret not in wrong.log()
