"""What the segments API tells of its recordings: the same wherever it is asked, and in words for people."""

import json
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


WHOLE = "must be a whole number from 0 to 4,294,967,295"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("init-live", b"{", "The body is no JSON"),
        ("init-live", b'{"sessionId": "x"} {}', "The body is no JSON"),
        ("init-live", [], "The body must be an object"),
        ("init-live", {}, "sessionId is missing"),
        ("init-live", {"sessionId": ""}, "The sessionId is to have 1 to 1,024 bytes"),
        ("init-live", {"sessionId": 5}, "sessionId must be text"),
        ("init-live", {"sessionId": "x", "recordedAt": "yesterday"}, "recordedAt: a time is Unix milliseconds, or RFC 3339"),
        ("init", {"sessionId": 5}, "sessionId must be text"),
        ("init", {"sessionId": "x", "files": {}}, "files must be a list"),
        ("init", {"sessionId": "x", "files": [{"userId": "a"}, {"segmentIndex": -1}]}, f"files[1].segmentIndex {WHOLE}"),
        ("{id}/segment-upload-url", {"userId": "a", "fileSize": "9, expected"}, "fileSize must be a whole number, 0 or more"),
        ("{id}/segment-upload-url", {"userId": "a", "fileSize": 1, "username": "x" * 1_025}, "The username is to have"),
        ("{id}/finalize", {"segments": [{"segmentIndex": 1.5}]}, f"segments[0].segmentIndex {WHOLE}"),
        ("{id}/complete", {"files": [{"duration": "long"}]}, "files[0].duration must be a number"),
    ],
)
def test_what_does_not_fit_is_told_by_its_name_in_plain_words(server, path, body, words):
    place = path.format(id=Recording(server, "misunderstood").id)
    sent = {"data": body} if isinstance(body, bytes) else {"json": body}
    answer = server.request("POST", f"/api/recordings/{place}", **sent)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"].startswith(words), answer.text
    assert " at line " not in answer.json()["error"] or isinstance(body, bytes)


def test_a_query_and_the_parts_of_a_request_are_told_of_in_plain_words(server):
    for place in ("/api/recordings?limit=x", "/api/recordings?limit=-1", "/api/v1/recordings?page_size=x"):
        answer = server.get(place)
        assert answer.status_code == 422
        name = place.partition("?")[2].partition("=")[0]
        assert answer.json().get("error", answer.json().get("detail")) == f"{name} must be a whole number, 0 or more"
    data = {"metadata": json.dumps({"sessionId": "parts", "files": [{"fileSize": "big"}]})}
    answer = server.request("POST", "/api/recordings", data=data, files=[("f", ("a.wav", b""))])
    assert answer.json()["error"] == "files[0].fileSize must be a whole number, 0 or more"


def test_a_path_is_told_as_it_was_sent(server):
    one, other = Recording(server, "one"), Recording(server, "other")
    sent = one.send(Segment.tone("alice", 0, 0, 440))
    for place in (sent["blobUrl"], sent["filePath"]):
        stolen = Segment.tone("mallory", 0, 0, 440).described() | {"blobUrl": place}
        refused = other.post("finalize", {"segments": [stolen]})
        assert (refused.status_code, refused.json()["error"]) == (422, f"{place} is a segment of another recording")


def test_what_is_finalized_while_the_store_is_away_is_over_and_completed_when_it_is_back(new_server, s3):
    server = new_server(**s3.settings("calls"), REELTIME_SEGMENTS_DIRECT="true").start()
    recording, segment = Recording(server, "away"), Segment.tone("alice", 0, 0, 440)
    address = recording.address(segment)
    assert requests.put(address, data=segment.content, headers={"Content-Type": "audio/wav"}, timeout=10).ok
    s3.kill()

    def assert_over() -> None:
        refused = recording.post("finalize", {"segments": []})
        words = "The recording is finalized, and no segment is taken any more; the store cannot be reached now"
        assert (refused.status_code, refused.json()["error"].startswith(words)) == (503, True), refused.text
        assert refused.headers["Retry-After"]
        late = recording.post("segment-upload-url", Segment.tone("alice", 1, 2, 440).described())
        assert (late.status_code, "is finalized" in late.json()["error"]) == (409, True), late.text
        again = server.request("POST", "/api/recordings/init-live", json={"sessionId": "away"})
        assert (again.status_code, again.json()["error"].startswith(words)) == (503, True), again.text
        assert told(server, recording.id)["status"] == "completed"
        assert server.get("/api/recordings/active").status_code == 404

    assert_over()
    server.kill()
    server.start()
    assert_over()
    s3.start()
    tried = server.request("POST", "/api/recordings/retry").json()["recordings"]
    assert [(each["recordingId"], each["finalized"]) for each in tried] == [(recording.id, True)]
    over = recording.finalize([])
    assert (over["status"], over["segmentCount"], over["missingSegments"]) == ("completed", 1, [])
    assert server.completed(recording.id)["duration_seconds"] == 1
    assert Recording(server, "away").id != recording.id
