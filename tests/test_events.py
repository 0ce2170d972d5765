"""What happens to a recording, as Server-Sent Events."""

import contextlib
import json
import threading
import time

import pytest
import requests
from harness.clients import Ingest
from harness.judges import tone
from harness.server import until

API = "/api/v1/recordings"


class Watcher:
    """Reads a recording's events in a thread of its own, to their end."""

    def __init__(self, server, recording_id: str):
        self.answer = requests.get(server.url(f"{API}/{recording_id}/events"), stream=True, timeout=30)
        assert self.answer.status_code == 200, self.answer.text
        assert self.answer.headers["Content-Type"] == "text/event-stream"
        self.events: list[dict] = []
        self.comments = 0
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        event = {}
        with contextlib.suppress(requests.RequestException, AttributeError):
            for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
                if not line and event:
                    self.events.append(event | {"data": json.loads(event["data"])})
                    event = {}
                elif line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, value = line.split(": ", 1)
                    event[name] = value

    def of(self, kind: str) -> list[dict]:
        return [event["data"] for event in self.events if event["event"] == kind]

    def ended(self, seconds: float = 15) -> None:
        self.thread.join(seconds)
        assert not self.thread.is_alive(), self.events


def test_a_recording_is_told_from_how_it_is_to_its_final_state(server):
    client = Ingest(server, call="events", participant="ada", ack="disk")
    client.send(tone(440, 1.0))
    client.until_acked(16_000)
    watcher = Watcher(server, client.recording_id)
    until("the beginning", lambda: watcher.of("progress"))
    assert [event["event"] for event in watcher.events[:3]] == ["state", "track", "progress"]
    assert watcher.of("state")[0]["state"] == "active"
    assert watcher.of("track")[0]["participant"] == "ada" and not watcher.of("track")[0]["ended"]
    assert watcher.of("progress")[0]["duration_seconds"] == pytest.approx(1.0)

    client.tell("mark", name="here")
    client.send(tone(440, 1.0))
    (mark,) = until("the mark", lambda: watcher.of("mark"))
    assert (mark["name"], mark["track_id"]) == ("here", client.track_id)
    assert mark["at_seconds"] == pytest.approx(1.0)
    until("progress", lambda: watcher.of("progress")[-1] == {"duration_seconds": 2.0, "synced_seconds": 2.0})

    second = Ingest(server, call="events", participant="bob")
    second.send(tone(440, 0.1))
    until("bob", lambda: [track["participant"] for track in watcher.of("track")] == ["ada", "bob"])
    client.tell("pause", reason="card number")
    client.send(tone(440, 0.5))
    client.tell("resume")
    client.send(tone(440, 0.5))
    until("the pause", lambda: watcher.of("pause"))
    client.stop()
    second.stop()
    watcher.ended()
    ended = [(track["participant"], track["ended"]) for track in watcher.of("track")]
    assert sorted(ended) == [("ada", False), ("ada", True), ("bob", False), ("bob", True)]
    pause = watcher.of("pause")[-1]
    assert pause["reason"] == "card number" and pause["duration_seconds"] == pytest.approx(0.5, abs=0.05)
    last = watcher.events[-1]
    assert (last["event"], last["data"]["state"]) == ("state", "complete")
    assert last["data"]["duration_seconds"] == server.recording(client.recording_id)["duration_seconds"]
    numbers = [int(event["id"]) for event in watcher.events]
    assert numbers == list(range(1, len(numbers) + 1))


def test_gaps_are_told(server):
    client = Ingest(server, clock=None, call="events with a gap")
    client.send(tone(440, 0.5))
    watcher = Watcher(server, client.recording_id)
    until("the beginning", lambda: watcher.of("track"))
    time.sleep(2.0)
    client.send(tone(440, 0.5), pace=0.02)
    client.stop()
    watcher.ended()
    gap = watcher.of("gap")[-1]
    (known,) = server.recording(client.recording_id)["gaps"]
    assert {name: gap[name] for name in known} == known
    assert gap["reason"] == "silent_source" and gap["duration_seconds"] > 1.0


def test_of_a_complete_recording_there_is_its_final_state_alone(server):
    client = Ingest(server)
    client.send(tone(440, 0.5))
    client.stop()
    server.completed(client.recording_id)
    watcher = Watcher(server, client.recording_id)
    watcher.ended()
    assert [(event["id"], event["event"], event["data"]["state"]) for event in watcher.events] == [
        ("1", "state", "complete")
    ]
    assert server.get(f"{API}/{client.track_id}/events").status_code == 404


def test_a_recording_that_is_deleted_is_told_to_be_gone(server):
    client = Ingest(server)
    client.send(tone(440, 0.5))
    watcher = Watcher(server, client.recording_id)
    until("the beginning", lambda: watcher.of("track"))
    assert server.request("DELETE", f"{API}/{client.recording_id}").status_code == 204
    watcher.ended()
    assert watcher.of("state")[-1]["state"] == "aborted" and "deleted" in watcher.of("state")[-1]["reason"]


def test_watchers_are_bounded_and_those_who_leave_make_room(new_server):
    server = new_server().start()
    client = Ingest(server)
    client.send(tone(440, 0.5))
    path = server.url(f"{API}/{client.recording_id}/events")
    watching = [requests.get(path, stream=True, timeout=30) for _ in range(100)]
    assert {answer.status_code for answer in watching} == {200}
    refused = requests.get(path, timeout=30)
    assert refused.status_code == 503 and int(refused.headers["Retry-After"]) > 0
    for answer in watching[:3]:
        answer.close()

    def room():
        answer = requests.get(path, stream=True, timeout=30)
        answer.close()
        return answer.status_code == 200

    until("those who left to be noticed", room, every=0.2)
    client.stop()
    server.completed(client.recording_id)


def test_a_quiet_stream_says_that_it_lives_and_ends_with_the_server(new_server):
    server = new_server().start()
    client = Ingest(server, ack="disk")
    client.send(tone(440, 0.5))
    client.until_acked(8_000)
    watcher = Watcher(server, client.recording_id)
    until("a sign of life", lambda: watcher.comments, seconds=25, every=0.2)
    began = time.monotonic()
    server.terminate()
    watcher.ended(5)
    assert time.monotonic() - began < 10
