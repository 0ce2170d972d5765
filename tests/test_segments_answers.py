"""What the segments API tells of its recordings: the same wherever it is asked, and in words for people."""

from contextlib import suppress

import pytest
import requests
from harness.clients import Ingest
from harness.judges import tone
from harness.segments import BEGIN, Recording, Segment


def told(server, recording: str) -> dict:
    answer = server.get(f"/api/recordings/{recording}")
    assert answer.status_code == 200, answer.text
    return answer.json()["recording"]


def in_one_request(server, session: str, *files: bytes):
    parts = [("audio", (f"{number}.wav", content, "audio/wav")) for number, content in enumerate(files)]
    data = {"sessionId": session, "recordedAt": str(BEGIN)}
    return server.request("POST", "/api/recordings", data=data, files=parts)


def test_the_list_and_each_recording_tell_the_same_figures(new_server):
    server = new_server(REELTIME_CALL_LINGER="0s").start()
    said = [Segment.tone(name, index, 2 * index, 440) for index in range(2) for name in ("alice", "bob")]
    live, over = Recording(server, "live"), Recording(server, "over")
    live.send(said[0])
    live.address(said[1])
    sent = [over.send(each) for each in said]
    over.finalize([*sent, Segment.tone("carol", 0, 7, 440).described()])
    batch = in_one_request(server, "batch", *(each.content for each in said[:3])).json()["recording"]["id"]
    empty = Recording(server, "empty")
    empty.finalize([])
    call = [Ingest(server, call="call", participant=name) for name in ("ann", "ben")]
    for each in call:
        each.send(tone(440, 2.0))
    for each in call:
        each.stop()
    finished = [over.id, batch, empty.id, call[0].recording_id]
    lengths = [server.completed(each)["duration_seconds"] for each in finished]
    listed = {each["id"]: each for each in server.get("/api/recordings").json()["recordings"]}
    assert set(listed) == {live.id, *finished}
    for each in listed:
        one = told(server, each)
        assert len(one["downloadUrls"].pop("audio")) == one["segmentCount"]
        assert listed[each]["downloadUrls"].pop("audio") == []
        assert listed[each] == one
    names = ("segmentCount", "participantCount", "duration", "totalSize")
    size = len(said[0].content)
    figures = [tuple(listed[each][name] for name in names) for each in (live.id, *finished)]
    assert figures[:4] == [(1, 1, 1_000, size), (4, 2, 8_000, 4 * size), (3, 3, 1_000, 3 * size), (0, 0, 0, 0)]
    assert figures[4] == (2, 2, round(1_000 * lengths[3]), 2 * 64_044)
    assert lengths[:3] == [8, 1, 0]
    assert [len(listed[each]["missingSegments"]) for each in (live.id, *finished)] == [0, 1, 0, 0, 0]


@pytest.mark.parametrize("control", ["pause", "resume", "stop"])
def test_who_would_stop_a_recording_of_segments_is_told_how_it_ends(server, control):
    recording = Recording(server, f"to {control}")
    refused = server.request("POST", f"/api/v1/recordings/{recording.id}/{control}")
    assert refused.status_code == 409
    assert f"POST /api/recordings/{recording.id}/finalize" in refused.json()["detail"]
    recording.finalize([])
    refused = server.request("POST", f"/api/v1/recordings/{recording.id}/{control}")
    assert (refused.status_code, refused.json()["detail"]) == (409, "The recording has ended")


def assert_gone(server, recording: str) -> None:
    for _ in range(2):
        assert server.request("DELETE", f"/api/v1/recordings/{recording}").status_code == 204
    for place in ("api/recordings", "api/v1/recordings"):
        assert server.get(f"/{place}/{recording}").status_code == 404, place


@pytest.mark.parametrize("step", [None, "uploaded"])
def test_a_recording_that_nothing_came_for_is_one_everywhere_until_it_is_deleted(new_server, step):
    server = new_server(**({"REELTIME_CRASH_AT": step} if step else {})).start()
    empty = Recording(server, "empty")
    answered = None
    with suppress(requests.ConnectionError):
        answered = empty.finalize([])
    if step:
        server.process.wait(20)
        server.settings = {}
        server.start()
    details = server.completed(empty.id)
    assert (details["duration_seconds"], details["tracks"], details["reason"]) == (0, [], "nothing was recorded")
    one = told(server, empty.id)
    assert (one["status"], one["segmentCount"], one["duration"]) == ("completed", 0, 0)
    assert empty.finalize([]) == one
    assert step or answered == one
    assert server.get(f"/api/v1/recordings/{empty.id}/manifest").json()["tracks"] == []
    stream = server.get(f"/api/v1/recordings/{empty.id}/stream")
    assert (stream.status_code, stream.json()["detail"]) == (409, "Nothing was recorded, or nothing yet")
    assert_gone(server, empty.id)
    assert Recording(server, "empty").id != empty.id
