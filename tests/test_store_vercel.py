"""Recordings in Vercel Blob. Vercel's own client says whether the service of our tests is one, and reads what we write."""

import json

import pytest
from harness.clients import Ingest
from harness.judges import wave_file
from harness.oracle import indexed_pcm
from harness.server import run_reeltime, until
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


def check(tmp_path, **settings: str) -> tuple[int, dict]:
    """`reeltime store check`: its exit status and its steps by name."""
    done = run_reeltime("store", "check", "--json", cwd=tmp_path, seconds=60, **settings)
    return done.returncode, {step["name"]: step for step in json.loads(done.stdout)["steps"]}


def test_a_good_store_is_found_good_and_left_empty(vercel, tmp_path):
    status, steps = check(tmp_path, **vercel.settings("rec"))
    skipped = {"signed address", "conditions"}
    assert {name: step["outcome"] for name, step in steps.items()} == {
        name: "skipped" if name in skipped else "passed" for name in steps
    }
    assert {"write", "read", "range", "list", "overwrite", "parts", "abort", "delete"} == steps.keys() - skipped
    assert (status, vercel.objects()) == (0, {})


def test_each_thing_that_is_wrong_is_named_with_what_to_do(vercel, tmp_path):
    other = {"private": "public", "public": "private"}[vercel.access]
    for wrong, hint in [
        ({"BLOB_READ_WRITE_TOKEN": vercel.token + "x"}, "put the store's BLOB_READ_WRITE_TOKEN"),
        ({"REELTIME_VERCEL_ACCESS": other}, "the setting vercel_access says how the store was made"),
        ({"VERCEL_BLOB_API_URL": vercel.api_url.replace("/api", "/elsewhere")}, "look at VERCEL_BLOB_API_URL"),
    ]:
        status, steps = check(tmp_path, **vercel.settings("rec", **wrong))
        assert status == 1
        assert steps["write"]["outcome"] == "failed" and hint in steps["write"]["why"], (wrong, steps)
