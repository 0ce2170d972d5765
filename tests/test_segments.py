"""Recordings that come in as segments, by the segments API."""

import base64
import io
import json
import subprocess
import zipfile
from pathlib import Path

import pytest
import requests
from harness import judges
from harness.clients import CLIENTS
from harness.media import play
from harness.segments import BEGIN, Recording, Segment, wav
from harness.server import of_tracks, until
from segments_load import load

PITCHES = {"alice": 440, "bob": 660, "carol": 880, "dave": 1_100}


def heard(server, recording: str, folder: Path, **query):
    """What a player gives of the recording, at 16 kHz."""
    return play(server.stream(recording, format="wav", **query), folder, "wav")


def assert_tone(sound, pitch: float, begin: float, end: float):
    """This pitch alone of those of the speakers, between two seconds but for a moment at either end."""
    for other in PITCHES.values():
        power = sound.power(other, begin + 0.02, end - 0.02)
        assert (power > 0.05) == (other == pitch), (other, pitch, begin, power)


def speakers(utterances: int = 3) -> list[Segment]:
    """Four who speak one after the other, a second each with half a second of silence between."""
    names = list(PITCHES)
    turns = [(turn, names[turn % 4]) for turn in range(4 * utterances)]
    return [Segment.tone(name, turn // 4, 1.5 * turn, PITCHES[name]) for turn, name in turns]


@pytest.fixture(scope="session")
def client(tmp_path_factory):
    """The client, clients/segments.mts, as its compiler makes it once its types hold."""
    folder = tmp_path_factory.mktemp("client")
    compiler = CLIENTS / "node_modules/.bin/tsc"
    made = subprocess.run([compiler, "-p", CLIENTS, "--outDir", folder], capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stdout
    return folder / "segments.mjs"


def by_the_client(client, server, said: list[Segment]) -> dict:
    """What a client that knows the API's document alone is told of a recording of these."""
    told = [
        {
            "userId": f"id-{name}",
            "username": name,
            "segments": [
                {
                    "start": each.described()["absoluteStartTime"],
                    "end": each.described()["absoluteEndTime"],
                    "wav": base64.b64encode(each.content).decode(),
                }
                for each in said
                if each.user == name
            ],
        }
        for name in PITCHES
    ]
    request = {"url": server.url(""), "session": "four", "begin": BEGIN, "speakers": told, "flaky": 3}
    done = subprocess.run(["node", client], input=json.dumps(request), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_client_of_the_document_alone_records_four_speakers(client, server, tmp_path):
    said = speakers()
    answer = by_the_client(client, server, said)
    recording = answer["recording"]
    assert recording["status"] == "completed"
    assert (recording["participantCount"], recording["segmentCount"]) == (4, 12)
    assert recording["totalSize"] == sum(len(each.content) for each in said)
    assert answer["active"]["recordingId"] == recording["id"] == answer["recordingId"]
    stored = {(sent["username"], sent["segmentIndex"]): server.get(sent["blobUrl"]).content for sent in answer["sent"]}
    assert stored == {(each.user, each.index): each.content for each in said}
    details = server.completed(recording["id"])
    assert sorted({track["participant"] for track in details["tracks"]}) == list(PITCHES)
    mix = heard(server, recording["id"], tmp_path)
    assert len(mix) / mix.rate == pytest.approx(1.5 * 11 + 1, abs=0.01)
    for each in said:
        assert_tone(mix, PITCHES[each.user], each.at, each.at + 1)
        assert mix.peak(each.at + 1.01, each.at + 1.49) == 0
    middle = server.get(f"/api/v1/recordings/{recording['id']}/stream", headers={"Range": "bytes=100000-100099"})
    assert (middle.status_code, len(middle.content)) == (206, 100)
    assert server.get(f"/api/v1/recordings/{recording['id']}/peaks").status_code == 200


def test_a_live_recording_is_heard_while_its_segments_come(server, tmp_path):
    recording = Recording(server, "live one")
    assert Recording(server, "live one").id == recording.id, "the same session is the same recording"
    recording.send(Segment.tone("alice", 0, 2, 440))
    details = server.recording(recording.id)
    assert (details["state"], details["call_id"]) == ("active", "live one")
    sound = heard(server, recording.id, tmp_path)
    assert_tone(sound, 440, sound.channels[0].index(next(filter(None, sound.channels[0]))) / 16_000, 1)
    recording.finalize([])
    assert server.completed(recording.id)["duration_seconds"] == pytest.approx(3)
    assert Recording(server, "live one").id != recording.id, "a session that is over begins anew"


def test_segments_in_any_order_and_twice_are_heard_once_where_they_belong(server, tmp_path):
    recording = Recording(server, "out of turn")
    said = [Segment.tone("alice", index, 90.0 * index, 440 if index % 2 else 880) for index in range(6)]
    sent = [recording.send(said[index]) for index in (4, 0, 5, 2, 1, 3, 0, 5)]
    assert recording.finalize(sent)["segmentCount"] == 6
    details = server.completed(recording.id)
    assert of_tracks(details, "gaps") == []
    mix = heard(server, recording.id, tmp_path)
    assert len(mix) == 451 * 16_000
    for each in said:
        begin = round(each.at * 16_000)
        assert mix.channels[0][begin : begin + 16_000].tobytes() == each.content[44:], each.index
        assert mix.peak(each.at + 1, each.at + 90) == 0


def test_where_segments_overlap_the_first_is_heard_and_the_rest_of_the_other(server, tmp_path):
    recording = Recording(server, "overlap")
    recording.send(Segment.tone("alice", 0, 1, 440, seconds=2))
    recording.send(Segment.tone("alice", 1, 2, 880, seconds=2))
    recording.send(Segment.tone("alice", 2, 0, 1_100, seconds=5))
    assert recording.finalize([])["segmentCount"] == 3
    server.completed(recording.id)
    mix = heard(server, recording.id, tmp_path)
    assert len(mix) == 5 * 16_000
    for pitch, begin, end in ((1_100, 0, 1), (440, 1, 3), (880, 3, 4), (1_100, 4, 5)):
        assert_tone(mix, pitch, begin, end)


@pytest.mark.parametrize("kind", ["u8", "s24le", "s32le", "f32le", "mulaw", "alaw", "flac", "libopus"])
def test_every_format_is_heard_at_its_time(server, tmp_path, kind):
    form = {"flac": "flac", "libopus": "ogg"}.get(kind, "wav")
    codec = kind if form != "wav" or kind.endswith("law") else f"pcm_{kind}"
    codec = f"pcm_{kind}" if kind.endswith("law") else codec
    options = ("-ac", "2") if kind in ("flac", "s24le") else ()
    command = ("ffmpeg", "-v", "error", "-i", "-", *options, "-c:a", codec, "-f", form, "-")
    content = judges.run(*command, stdin=wav(judges.tone(440, 1.0, 48_000), 48_000))
    recording = Recording(server, f"format {kind}")
    recording.send(Segment("alice", 0, 0, wav(judges.tone(880, 1.0, 48_000), 48_000), 1))
    sent = recording.send(Segment("alice", 1, 2, content, 1, form))
    assert server.get(sent["blobUrl"]).content == content
    recording.finalize([])
    server.completed(recording.id)
    mix = heard(server, recording.id, tmp_path)
    assert_tone(mix, 880, 0, 1)
    assert_tone(mix, 440, 2, 3)
    assert mix.peak(1.01, 1.99) < 50
    assert len(mix) / mix.rate == pytest.approx(3, abs=0.001)


def test_what_never_came_is_told_and_marked_and_the_answer_stays(server):
    recording = Recording(server, "missing")
    said = [Segment.tone("alice", index, 2 * index, 440) for index in range(3)]
    sent = [recording.send(said[0]), recording.send(said[2])]
    recording.address(Segment.tone("alice", 7, 12, 440))
    named = [*sent, said[1].described(), Segment.tone("bob", 0, 3, 660).described()]
    told = recording.finalize(named)
    missing = {(each["userId"], each["segmentIndex"]) for each in told["missingSegments"]}
    assert missing == {("id-alice", 1), ("id-alice", 7), ("id-bob", 0)}
    assert (told["segmentCount"], told["participantCount"]) == (2, 1)
    assert recording.finalize(named) == told == recording.finalize([])
    assert server.get(f"/api/recordings/{recording.id}").json()["recording"] == told
    details = server.completed(recording.id)
    assert recording.finalize(named) == told
    gaps = {
        (track["participant"], gap["reason"], track["start_seconds"] + gap["at"] / 16_000, gap["samples"])
        for track in details["tracks"]
        for gap in track["gaps"]
    }
    assert gaps == {("alice", "loss", 2, 16_000), ("alice", "loss", 12, 16_000), ("bob", "loss", 3, 16_000)}
    late = recording.post("segment-upload-url", Segment.tone("alice", 9, 30, 440).described())
    assert (late.status_code, late.json()["success"]) == (409, False)


def test_a_segment_of_another_recording_is_refused(server):
    one, other = Recording(server, "one"), Recording(server, "other")
    sent = one.send(Segment.tone("alice", 0, 0, 440))
    for places in ({"blobUrl": sent["blobUrl"]}, {"filePath": sent["filePath"]}, {"blobUrl": f"https://x/{sent['filePath']}?y"}):
        stolen = Segment.tone("mallory", 0, 0, 440).described() | places
        answer = other.post("finalize", {"segments": [stolen]})
        assert (answer.status_code, answer.json()["success"]) == (422, False)
        assert "another recording" in answer.json()["error"]
    assert server.get(f"/api/recordings/{other.id}").json()["recording"]["status"] == "live"
    one.finalize([sent])


def test_an_upload_url_works_once_for_its_size_and_type(server):
    recording = Recording(server, "urls")
    segment = Segment.tone("alice", 0, 0, 440)
    first, address = recording.address(segment), recording.address(segment)
    content = segment.content

    def refused(status: int, words: str, address: str, content: bytes = content, kind: str = "audio/wav"):
        answer = recording.put(address, content, kind)
        told = answer.json()
        assert (answer.status_code, told["success"]) == (status, False), answer.text
        assert words in told["error"], told

    refused(404, "a newer one", first)
    refused(413, "larger", address, content + b"x")
    refused(400, "send it again", address, content[:-1])
    refused(415, "audio/wav", address, kind="audio/mpeg")
    refused(422, "not a WAV", address, bytes(len(content)))
    refused(403, "signature", address[:-1] + ("0" if address[-1] != "0" else "1"))
    refused(403, "signature", address.replace("expires=", "expires=1"))
    assert server.request("GET", address).status_code in (403, 405)
    assert recording.put(address, content).status_code == 200
    refused(409, "was used", address)
    again = recording.address(segment)
    refused(409, "other bytes", again, content[:-2] + b"zz")
    assert recording.put(again, content).status_code == 200, "the same bytes by a new address change nothing"
    assert recording.finalize([])["segmentCount"] == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("init-live", {}, 422),
        ("init-live", {"sessionId": ""}, 422),
        ("init-live", {"sessionId": "x", "recordedAt": "yesterday"}, 422),
        ("init-live", [], 422),
        ("00000000-0000-0000-0000-000000000000/finalize", {}, 404),
        ("nonsense/finalize", {}, 404),
        ("nowhere/at/all", {}, 404),
    ],
)
def test_bad_requests_are_told_in_the_apis_own_form(server, path, body, status):
    answer = server.request("POST", f"/api/recordings/{path}", json=body)
    assert (answer.status_code, answer.json()["success"]) == (status, False), answer.text
    assert answer.json()["error"] and "details" in answer.json()


def test_a_segment_that_cannot_be_is_refused(server):
    recording = Recording(server, "impossible")
    segment = Segment.tone("alice", 0, 0, 440)
    for fields, status in (
        ({"absoluteStartTime": BEGIN + 49 * 3_600_000, "absoluteEndTime": BEGIN + 49 * 3_600_000}, 422),
        ({"absoluteEndTime": BEGIN - 1}, 422),
        ({"fileSize": 51 << 20}, 413),
        ({"fileSize": None}, 422),
        ({"format": "mp3"}, 422),
        ({"userId": "", "username": ""}, 422),
        ({"segmentIndex": -1}, 422),
    ):
        answer = recording.post("segment-upload-url", segment.described() | fields)
        assert (answer.status_code, answer.json()["success"]) == (status, False), (fields, answer.text)
    recording.finalize([])


def test_names_of_any_kind_stay_apart_in_the_store(server):
    recording = Recording(server, "../../session")
    said = [Segment.tone(name, 0, 0, 440) for name in ("../x", "..", "a/b", "a~2Fb", "ä", "ä")]
    paths = [recording.send(each)["filePath"] for each in said]
    assert len(set(paths)) == 5, "the last one is the one before, again"
    assert all(path.startswith("recordings/~2E.~2F..~2Fsession/") and ".." not in path.split("/") for path in paths)
    assert recording.finalize([])["segmentCount"] == 5


def test_a_batch_is_recorded(server, tmp_path):
    said = [Segment.tone("alice", 0, 0, 440), Segment.tone("bob", 0, 1.5, 660)]
    body = {"sessionId": "batch", "recordedAt": BEGIN, "files": [each.described() for each in said]}
    begun = server.request("POST", "/api/recordings/init", json=body).json()
    assert begun["success"] and [each["fileIndex"] for each in begun["uploadUrls"]] == [0, 1]
    files = []
    for each, place in zip(said, begun["uploadUrls"], strict=True):
        answer = server.request("PUT", place["uploadUrl"], data=each.content, headers={"Content-Type": "audio/wav"})
        files.append({"fileIndex": place["fileIndex"], "blobUrl": answer.json()["blobUrl"], "username": each.user})
    path = f"/api/recordings/{begun['recordingId']}/complete"
    recording = server.request("POST", path, json={"files": files}).json()["recording"]
    assert (recording["status"], recording["segmentCount"], recording["missingSegments"]) == ("completed", 2, [])
    server.completed(recording["id"])
    mix = heard(server, recording["id"], tmp_path)
    assert_tone(mix, 440, 0, 1)
    assert_tone(mix, 660, 1.5, 2.5)


def test_a_whole_recording_in_one_request(server, tmp_path):
    said = [Segment.tone("alice", 0, 0, 440), Segment.tone("bob", 0, 1.5, 660)]
    described = [each.described() | {"fileName": f"{each.user}.wav"} for each in said]
    metadata = {"sessionId": "parts", "recordedAt": BEGIN, "files": described}
    files = [("audio", (f"{each.user}.wav", each.content, "audio/wav")) for each in reversed(said)]
    answer = server.request("POST", "/api/recordings", data={"metadata": json.dumps(metadata)}, files=files)
    assert answer.status_code == 200, answer.text
    recording = answer.json()["recording"]
    assert (recording["segmentCount"], recording["participantCount"]) == (2, 2)
    server.completed(recording["id"])
    mix = heard(server, recording["id"], tmp_path)
    assert_tone(mix, 440, 0, 1)
    assert_tone(mix, 660, 1.5, 2.5)


def test_a_file_beyond_50_mb_in_one_request_is_too_large(server):
    files = [("audio", ("alice.wav", wav(bytes(51 << 20)), "audio/wav"))]
    answer = server.request("POST", "/api/recordings", data={"sessionId": "too large"}, files=files, timeout=60)
    assert (answer.status_code, answer.json()["success"]) == (413, False), answer.text


def in_one_request(server, session: str, **files: bytes):
    """The answer to a recording of these files, each of a speaker, in one request."""
    parts = [("audio", (f"{name}.wav", content, "audio/wav")) for name, content in files.items()]
    data = {"sessionId": session, "recordedAt": str(BEGIN)}
    return server.request("POST", "/api/recordings", data=data, files=parts, timeout=60)


def test_a_request_that_is_corrected_and_sent_again_doubles_nothing(server):
    alice, bob = Segment.tone("alice", 0, 0, 440).content, Segment.tone("bob", 0, 0, 660).content
    refused = in_one_request(server, "corrected", alice=alice, bob=b"no sound")
    assert refused.status_code == 422, refused.text
    for other in (alice[:-2] + b"zz", wav(judges.tone(440, 2.0))):
        differs = in_one_request(server, "corrected", alice=other, bob=bob)
        assert (differs.status_code, "other bytes" in differs.json()["error"]) == (409, True), differs.text
    told = in_one_request(server, "corrected", alice=alice, bob=bob).json()["recording"]
    assert (told["status"], told["segmentCount"], told["participantCount"]) == ("completed", 2, 2)
    assert [server.get(url).content for url in told["downloadUrls"]["audio"]] == [alice, bob]
    tracks = server.completed(told["id"])["tracks"]
    assert sorted((track["participant"], track["samples"]) for track in tracks) == [("alice.wav", 16_000), ("bob.wav", 16_000)]


def test_files_are_downloaded_one_by_one_and_together(server, tmp_path):
    recording = Recording(server, "downloads")
    said = speakers(1)
    for each in said:
        recording.send(each)
    told = recording.finalize([])
    assert [server.get(url).content for url in told["downloadUrls"]["audio"]] == [each.content for each in said]
    archive = server.get(f"/api/recordings/{recording.id}/download/all")
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == {
            f"{each.user}/segment_000.wav": each.content for each in said
        }
    missing = server.get(f"/api/recordings/{recording.id}/download/99")
    assert (missing.status_code, missing.json()["success"]) == (404, False)
    transcript = server.get(f"/api/recordings/{recording.id}/transcript?format=text")
    assert (transcript.status_code, transcript.json()["error"]) == (404, "The recording has no transcript")


def test_recordings_are_listed_newest_first(new_server):
    server = new_server().start()
    made = [Recording(server, f"list {number}") for number in range(5)]
    newest = [each.id for each in reversed(made)]
    for limit, offset in ((2, 0), (2, 1), (3, 2), (2, 3), (20, 0), (20, 5)):
        told = server.get(f"/api/recordings?limit={limit}&offset={offset}").json()
        assert [each["id"] for each in told["recordings"]] == newest[offset : offset + limit], (limit, offset)
        assert told["total"] == 5
    for wrong in ("limit=0", "limit=101", "limit=x"):
        assert server.get(f"/api/recordings?{wrong}").json()["success"] is False
    assert server.get("/api/recordings/active?guildId=g&channelId=c").json()["recordingId"] == newest[0]
    nowhere = server.get("/api/recordings/active?guildId=x")
    assert (nowhere.status_code, nowhere.json()["success"]) == (404, False)


def test_a_key_is_asked_for_and_an_upload_url_needs_none(new_server):
    server = new_server(REELTIME_API_KEYS="secret").start()
    refused = server.request("POST", "/api/recordings/init-live", json={"sessionId": "x"})
    assert (refused.status_code, refused.json()["success"]) == (401, False)
    key = {"Authorization": "Bearer secret"}
    body = {"sessionId": "x", "recordedAt": BEGIN}
    recording = server.request("POST", "/api/recordings/init-live", json=body, headers=key).json()["recordingId"]
    segment = Segment.tone("alice", 0, 0, 440)
    path = f"/api/recordings/{recording}/segment-upload-url"
    address = server.request("POST", path, json=segment.described(), headers=key).json()["uploadUrl"]
    sent = server.request("PUT", address, data=segment.content, headers={"Content-Type": "audio/wav"})
    assert sent.status_code == 200, sent.text
    assert server.get(sent.json()["url"]).status_code == 401


@pytest.mark.parametrize("step", ["segment_stored:1", "segment_stored:3", "segment_logged:1", "segment_logged:3"])
def test_a_crash_between_two_steps_neither_doubles_nor_loses(new_server, tmp_path, step):
    server = new_server(REELTIME_CRASH_AT=step).start()
    port = server.port
    recording = Recording(server, "crash")
    said = [Segment.tone("alice", index, 1.5 * index, 440 if index % 2 else 880) for index in range(4)]
    sent = []
    for each in said:
        try:
            sent.append(recording.send(each))
        except requests.ConnectionError:
            server.process.wait(20)
            server.settings = {}
            server.start(port)
            sent.append(recording.send(each))
    assert server.runs == 2
    assert recording.finalize(sent)["segmentCount"] == 4
    details = server.completed(recording.id)
    assert of_tracks(details, "gaps") == []
    mix = heard(server, recording.id, tmp_path)
    assert len(mix) == 5.5 * 16_000
    for each in said:
        begin = round(each.at * 16_000)
        assert mix.channels[0][begin : begin + 16_000].tobytes() == each.content[44:], each.index
    assert [server.get(each["blobUrl"]).content for each in sent] == [each.content for each in said]
    objects = [path for path in (server.data_dir / "objects").rglob("segment_*") if path.is_file()]
    assert len(objects) == 4, objects


def test_a_recording_without_segments_outlives_a_restart(new_server):
    server = new_server().start()
    recording = Recording(server, "restart")
    server.kill()
    server.start()
    assert Recording(server, "restart").id == recording.id
    recording.send(Segment.tone("alice", 0, 0, 440))
    server.terminate()
    server.start()
    recording.send(Segment.tone("alice", 1, 2, 440))
    assert recording.finalize([])["segmentCount"] == 2
    assert server.completed(recording.id)["duration_seconds"] == pytest.approx(3)


def test_a_recording_that_nobody_finalizes_is_finalized_in_time(new_server):
    server = new_server(REELTIME_SEGMENTS_AUTO_FINALIZE="2s").start()
    recording = Recording(server, "forgotten")
    recording.send(Segment.tone("alice", 0, 0, 440))
    recording.address(Segment.tone("alice", 1, 2, 440))
    details = server.completed(recording.id)
    assert details["duration_seconds"] == pytest.approx(3), "with the gap of the one that never came"
    told = server.get(f"/api/recordings/{recording.id}").json()["recording"]
    assert (told["status"], told["segmentCount"], len(told["missingSegments"])) == ("completed", 1, 1)
    assert server.request("POST", "/api/recordings/retry").json() == {"success": True, "recordings": []}


def test_a_deleted_recording_leaves_nothing(new_server):
    server = new_server().start()
    recording = Recording(server, "deleted")
    recording.send(Segment.tone("alice", 0, 0, 440))
    assert server.request("DELETE", f"/api/v1/recordings/{recording.id}").status_code == 204
    assert not [path for path in (server.data_dir / "objects").rglob("segment_*") if path.is_file()]
    answer = recording.post("finalize", {})
    assert (answer.status_code, answer.json()["success"]) == (404, False)
    assert Recording(server, "deleted").id != recording.id


def test_ten_thousand_segments_in_one_finalize(server):
    recording = Recording(server, "ten thousand")
    sent = recording.send(Segment.tone("alice", 0, 0, 440))
    named = [Segment("alice", index, float(index), b"", 0.5).described() | {"fileSize": 1} for index in range(1, 10_000)]
    told = recording.finalize([sent, *named])
    assert (told["segmentCount"], len(told["missingSegments"])) == (1, 9_999)
    details = server.completed(recording.id, 60)
    assert len(of_tracks(details, "gaps")) == 9_999


def test_many_segments_come_many_times_faster_than_real_time(new_server):
    server = new_server().start()
    curve, speed = load(server, hours=0.1, speakers=4)
    print(f"{speed:.0f} times real time", [f"{hour:.2f} h: {size >> 10} KiB" for hour, size in curve])
    assert max(size for _, size in curve[:-1]) - curve[0][1] < 64 << 20


@pytest.fixture
def direct(new_server, s3):
    """A server whose segments go to the store itself."""
    return new_server(**s3.settings("calls"), REELTIME_SEGMENTS_DIRECT="true").start()


def put_directly(s3, address: str, content: bytes) -> None:
    assert address.startswith(f"{s3.endpoint}/{s3.bucket}/calls/recordings/"), address
    headers = {"Content-Type": "audio/wav", "x-ms-blob-type": "BlockBlob"}
    answer = requests.put(address, data=content, headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text


def test_the_same_client_sends_to_the_store_itself(client, direct, s3, tmp_path):
    said = speakers(2)
    recording = by_the_client(client, direct, said)["recording"]
    assert (recording["status"], recording["segmentCount"], recording["missingSegments"]) == ("completed", 8, [])
    assert recording["totalSize"] == sum(len(each.content) for each in said)
    for each in said:
        key = f"calls/recordings/four/{each.user}/segment_{each.index:03}.wav"
        assert s3.read(key) == each.content
    assert direct.metric("reeltime_segments_received_total") == 0, "none came through here"
    direct.completed(recording["id"])
    mix = heard(direct, recording["id"], tmp_path)
    for each in said:
        assert_tone(mix, PITCHES[each.user], each.at, each.at + 1)


def test_what_lies_in_the_store_and_is_not_what_was_announced_is_missing_and_goes(direct, s3):
    recording = Recording(direct, "direct")
    said = [Segment.tone("alice", index, 2 * index, 440) for index in range(5)]
    content = [said[0].content, said[1].content[:-2], b"ID3" + said[2].content[3:8] + b"mpeg" + said[2].content[12:], None]
    for each, sent in zip(said, content, strict=False):
        address = recording.address(each)
        if sent:
            put_directly(s3, address, sent)
    foreign = f"calls/recordings/direct/alice/segment_{4:03}.wav"
    s3.client().put_object(Bucket=s3.bucket, Key=foreign, Body=b"somebody else's")
    address = recording.address(said[4])
    assert address.startswith(direct.url("/api/recordings/")), "nothing is written over"
    assert recording.put(address, said[4].content).status_code == 200
    told = recording.finalize([])
    assert told["segmentCount"] == 2
    size = len(said[1].content)
    assert {each["segmentIndex"]: each["reason"] for each in told["missingSegments"]} == {
        1: f"it has {size - 2} bytes, and {size} were announced",
        2: "it is no wav file, as was announced",
        3: "it never came",
    }
    details = direct.completed(recording.id)
    assert [gap["reason"] for gap in of_tracks(details, "gaps")] == ["loss"] * 3
    kept = {f"calls/recordings/direct/alice/segment_{name}.wav" for name in ("000", "004", "004-2")}
    until("the others to go", lambda: set(s3.objects("calls/recordings/direct/")) == kept)
    assert s3.read(foreign) == b"somebody else's"
    assert s3.read(foreign.replace("004", "004-2")) == said[4].content


def test_an_address_is_ours_where_the_store_signs_none(new_server):
    server = new_server(REELTIME_SEGMENTS_DIRECT="true").start()
    recording = Recording(server, "folder")
    assert recording.address(Segment.tone("alice", 0, 0, 440)).startswith(server.url("/api/recordings/"))
