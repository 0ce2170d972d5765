"""Segments that the server cuts and sends: to its store, and to a recording API."""

import json
import os
import re
import subprocess
import time
import uuid
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest
from fakes.recording_api import KEY, RecordingApi
from harness.clients import Ingest
from harness.judges import decode, tone, wave_file
from harness.media import play
from harness.server import BINARY, run_reeltime, until
from websockets.exceptions import ConnectionClosed

RATE = 16_000
TAIL = 1.0
"""Seconds of the silence behind it that a segment keeps."""


@pytest.fixture
def api():
    service = RecordingApi()
    yield service
    service.stop()


@pytest.fixture
def sending(new_server, api):
    """A server that sends its segments to the API."""

    def make(**settings):
        settings = {"REELTIME_SEGMENTS": api.url, "REELTIME_SEGMENTS_API_KEY": KEY} | settings
        return new_server(**settings)

    return make


def silence(seconds: float, rate: int = RATE) -> bytes:
    return bytes(2 * round(seconds * rate))


def utterances(*lengths: float, hertz: float, pause: float = 2.0, rate: int = RATE) -> bytes:
    """Tones of these lengths, each with a pause behind it."""
    return b"".join(tone(hertz, length, rate) + silence(pause, rate) for length in lengths)


def spoken(recording: dict) -> dict[str, list[dict]]:
    """The segments that the API was told of at the end, by speaker, in order."""
    speakers: dict[str, list[dict]] = {}
    for segment in sorted(recording["summary"]["segments"], key=lambda segment: segment["segmentIndex"]):
        speakers.setdefault(segment["username"], []).append(segment)
    return speakers


def completed(api: RecordingApi, seconds: float = 20.0) -> dict:
    def found():
        with api.lock:
            done = [known for known in api.recordings.values() if known["status"] == "completed"]
            return done[0] if done else None

    return until("the API's recording to be complete", found, seconds)


def numbered(segments: list[dict], ending: str) -> list[str]:
    """Asserts that indexes count from 0 and names say them."""
    assert [segment["segmentIndex"] for segment in segments] == list(range(len(segments)))
    names = [segment["fileName"] for segment in segments]
    assert names == [f"segment_{index:03}.{ending}" for index in range(len(segments))]
    return names


def local_files(server) -> list[str]:
    folder = server.data_dir / "segments"
    # Unlike pathlib it takes no notice of a folder that goes while it looks.
    return sorted(str(Path(place, name).relative_to(folder)) for place, _, names in os.walk(folder) for name in names)


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_four_speakers_utterances_arrive_at_their_times_sample_for_sample(sending, api, kind):
    server = sending(RECORDING_OUTPUT_FORMAT=kind, RECORDING_SEGMENT_PARALLEL_LIMIT="2").start()
    speakers = [Ingest(server, call="room", participant=f"speaker {n}") for n in range(4)]
    sent = {}
    for n, speaker in enumerate(speakers):
        sent[n] = utterances(0.5, 0.9, 0.4 + n / 10, hertz=400 + 100 * n)
        speaker.send(silence(0.1 * n) + sent[n])
    recording_id = speakers[0].recording_id
    for speaker in speakers:
        speaker.stop()
    known = completed(api)
    assert not api.problems and known["opening"]["sessionId"] == recording_id
    told = spoken(known)
    assert sorted(told) == [f"speaker {n}" for n in range(4)]
    details = server.completed(recording_id)
    began = {track["participant"]: track for track in details["tracks"]}
    for n in range(4):
        segments = told[f"speaker {n}"]
        assert len(segments) == 3
        numbered(segments, kind)
        lengths = (0.5, 0.9, 0.4 + n / 10)
        at = 0.1 * n
        for segment, length in zip(segments, lengths, strict=True):
            content = api.blobs[segment["filePath"]]
            assert segment["fileSize"] == len(content)
            pcm = wave_file(content)[1] if kind == "wav" else decode(content)
            # On the grid of 20 ms the first chunk may hold a part of the silence before.
            first = round(at * RATE) // 320 * 320
            whole = silence(0.1 * n) + sent[n]
            assert pcm == whole[2 * first : 2 * first + len(pcm)]
            assert abs(len(pcm) / 2 / RATE - (length + TAIL)) <= 0.02
            assert abs(segment["duration"] - len(pcm) / 2 / RATE * 1_000) <= 1
            at += length + 2.0
        starts = [segment["absoluteStartTime"] for segment in segments]
        steps = [later - earlier for earlier, later in zip(starts, starts[1:], strict=False)]
        assert all(abs(step - (length + 2.0) * 1_000) <= 20 for step, length in zip(steps, lengths, strict=False))
        assert abs(starts[0] - (unix_ms(details, began[f"speaker {n}"]) + 100 * n)) <= 20
    assert api.most_at_once <= 2
    until("the files to be gone", lambda: local_files(server) == [])
    assert server.metric("reeltime_segments_uploaded_total") == 12
    assert server.metric("reeltime_segments_waiting") == 0
    assert KEY not in server.log() and "secret-" not in server.log()


def unix_ms(details: dict, track: dict) -> float:
    """When the track began, as the recording's details say."""
    epoch = datetime.fromisoformat(details["started_at"].replace("Z", "+00:00")).timestamp() * 1_000
    return epoch + track["start_seconds"] * 1_000


def test_segments_go_to_the_store_under_their_speakers_names(new_server):
    server = new_server(REELTIME_SEGMENTS="store", RECORDING_OUTPUT_FORMAT="wav").start()
    speaker = Ingest(server, call="c", participant="../ann")
    audio = utterances(0.5, 0.7, hertz=500)
    speaker.send(audio)
    speaker.stop()
    folder = server.data_dir / "objects" / "recordings" / speaker.recording_id
    listed = until("segments.json", lambda: (folder / "segments.json").exists() and folder / "segments.json")
    told = json.loads(listed.read_text())["segments"]
    assert [segment["filePath"] for segment in told] == [
        f"recordings/{speaker.recording_id}/~2E.~2Fann/segment_00{n}.wav" for n in range(2)
    ]
    pieces = [wave_file((server.data_dir / "objects" / segment["filePath"]).read_bytes())[1] for segment in told]
    assert pieces[0] == audio[: 2 * round(1.5 * RATE)] and pieces[1] == audio[2 * round(2.5 * RATE) :][: len(pieces[1])]
    server.completed(speaker.recording_id)
    assert server.request("DELETE", f"/api/v1/recordings/{speaker.recording_id}").status_code == 204
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_what_is_too_short_is_counted_and_a_long_utterance_is_cut_without_loss(sending, api):
    server = sending(RECORDING_OUTPUT_FORMAT="wav", RECORDING_MAX_SEGMENT_SIZE_MB="1").start()
    speaker = Ingest(server, participant="p", rate=48_000, channels=2)
    mono = tone(440, 12, 48_000)
    long = b"".join(mono[at : at + 2] * 2 for at in range(0, len(mono), 2))
    speaker.send(utterances(0.1, hertz=500, rate=96_000) + long + silence(2, 96_000), frame=19_200)
    speaker.stop()
    segments = spoken(completed(api))["p"]
    numbered(segments, "wav")
    assert len(segments) == 3 and all(segment["fileSize"] <= 1_000_000 for segment in segments)
    pieces = [wave_file(api.blobs[segment["filePath"]]) for segment in segments]
    assert all((params.nchannels, params.framerate) == (2, 48_000) for params, _ in pieces)
    heard = b"".join(pcm for _, pcm in pieces)
    assert heard[: len(long)] == long
    ends = [segment["absoluteEndTime"] for segment in segments]
    assert [segment["absoluteStartTime"] for segment in segments][1:] == ends[:-1]
    assert server.metric("reeltime_segments_short_total") == 1


def test_a_segment_leaves_while_the_speaker_is_silent_and_connected(sending, api):
    server = sending().start()
    speaker = Ingest(server, participant="p", clock=None)
    speaker.send(tone(500, 0.6) + silence(1.6))
    until("the segment", lambda: len(api.blobs) == 1, 10)
    assert api.only()["status"] == "live"
    speaker.stop()
    completed(api)


STEPS = ["segment_named", "segment_cut", "segment_uploaded", "segment_noted", "segments_finalized"]


@pytest.mark.parametrize("step", STEPS)
def test_a_server_killed_at_any_step_goes_on_counting_and_doubles_nothing(sending, api, step):
    server = sending(RECORDING_OUTPUT_FORMAT="flac", REELTIME_CRASH_AT=step).start()
    speaker = Ingest(server, call="c", participant="ann")
    parts = [utterances(0.5, 0.6, hertz=500), utterances(0.7, 0.8, 0.9, hertz=700)]
    with suppress(ConnectionClosed):
        speaker.send(parts[0])
        if step == "segments_finalized":
            speaker.tell("stop")
    server.process.wait(20)
    server.settings.pop("REELTIME_CRASH_AT")
    server.start()
    if step != "segments_finalized":
        again = Ingest(server, resume_token=speaker.token)
        again.send((parts[0] + parts[1])[2 * again.resume_at :])
        again.stop()
    known = completed(api)
    until("nothing to be left", lambda: local_files(server) == [])
    segments = spoken(known)["ann"]
    numbered(segments, "flac")
    lengths = [0.5, 0.6] if step == "segments_finalized" else [0.5, 0.6, 0.7, 0.8, 0.9]
    assert len(segments) == len(lengths)
    whole = parts[0] + parts[1]
    at = 0.0
    for segment, length in zip(segments, lengths, strict=True):
        pcm = decode(api.blobs[segment["filePath"]])
        first = round(at * RATE) // 320 * 320
        assert pcm == whole[2 * first : 2 * first + len(pcm)]
        at += length + 2.0
    assert len(api.blobs) == len(lengths) and len(api.recordings) == 1
    # Only what was under way and not noted may have been sent again, and then with the same bytes.
    twice = 2 if step in ("segment_uploaded", "segment_noted") else 0
    assert api.calls["PUT"] <= len(lengths) + twice
    assert not [problem for problem in api.problems if "409" in problem]


def test_an_older_api_gets_everything_at_the_end(sending, api):
    api.fail("init-live", 404)
    server = sending().start()
    speaker = Ingest(server, participant="p")
    speaker.send(utterances(0.5, 0.6, hertz=500))
    until("segments to be cut", lambda: server.metric("reeltime_segments_waiting") >= 1)
    assert not api.blobs
    speaker.stop()
    known = completed(api)
    assert [file["fileName"] for file in known["files"]] == ["segment_000.flac", "segment_001.flac"]
    assert len(api.blobs) == 2 and not api.problems
    assert api.calls["init-live"] == 1 and api.calls["finalize"] == 0
    until("the files to be gone", lambda: local_files(server) == [])


def test_at_the_end_what_has_arrived_is_not_sent_again_when_the_rest_is_tried_again(sending, api):
    api.fail("init-live", 404)
    api.fail("complete", 500, times=3)
    server = sending().start()
    speaker = Ingest(server, participant="p")
    speaker.send(utterances(0.5, 0.6, hertz=500))
    speaker.stop()
    known = completed(api)
    assert [file["fileName"] for file in known["files"]] == ["segment_000.flac", "segment_001.flac"]
    assert (api.calls["init"], api.calls["PUT"]) == (4, 2) and not api.problems
    assert server.metric("reeltime_segments_uploaded_total") == 2


def test_at_the_end_a_segment_that_is_refused_is_left_out_and_keeps_no_other(sending, api):
    api.fail("init-live", 404)
    api.fail("PUT", 413, times=1)
    server = sending(RECORDING_SEGMENT_PARALLEL_LIMIT="1").start()
    speaker = Ingest(server, participant="p")
    speaker.send(utterances(0.5, 0.6, hertz=500))
    speaker.stop()
    (file,) = completed(api)["files"]
    assert (file["fileIndex"], file["fileName"]) == (1, "segment_001.flac"), "as it was announced"
    assert (api.calls["init"], api.calls["PUT"]) == (1, 2) and not api.problems
    assert "p/segment_000.flac" in str(local_files(server)), "it stays on this machine"


@pytest.mark.parametrize("call", ["segment-upload-url", "PUT"])
def test_a_segment_that_fails_is_kept_and_sent_later(sending, api, call):
    api.fail(call, 503, times=3)
    server = sending().start()
    speaker = Ingest(server, participant="p")
    speaker.send(utterances(0.5, 0.6, hertz=500))
    speaker.stop()
    segments = spoken(completed(api))["p"]
    assert len(segments) == 2 and not api.problems
    assert server.metric("reeltime_segments_failed_total") == 3


@pytest.mark.parametrize("live", [True, False])
def test_uploads_to_an_api_heed_the_limit_of_all_uploads(sending, api, live):
    if not live:
        api.fail("init-live", 404)
    audio = utterances(0.5, hertz=500)
    # A byte a second: longer than any test.
    limited = sending(REELTIME_UPLOAD_BANDWIDTH="1").start()
    other = sending().start()
    for server in (limited, other):
        speaker = Ingest(server, participant="p")
        speaker.send(audio)
        speaker.stop()
        until("the segment to be cut", lambda: server.metric("reeltime_segments_cut_total") == 1)
    completed(api)
    assert len(api.blobs) == 1, "that of the other, which was cut later"
    assert limited.metric("reeltime_segments_uploaded_total") == 0
    limited.kill()
    limited.settings.pop("REELTIME_UPLOAD_BANDWIDTH")
    limited.start()
    until("the other segment", lambda: len(api.blobs) == 2)


def test_a_finalize_that_fails_is_kept_beside_the_files_and_tried_again(sending, api):
    api.fail("finalize", 500)
    server = sending(RECORDING_KEEP_LOCAL_AFTER_UPLOAD="true").start()
    speaker = Ingest(server, participant="p")
    speaker.send(utterances(0.5, hertz=500))
    speaker.stop()
    folder = server.data_dir / "segments" / speaker.recording_id
    exported = until("the export", lambda: (folder / "finalize.json").exists() and folder / "finalize.json")
    api.mend("finalize")
    known = completed(api)
    assert json.loads(exported.read_text())["segments"] == known["summary"]["segments"]
    # The files stay, as was asked for; the next start knows that they have arrived.
    assert (folder / "p" / "segment_000.flac").read_bytes() in api.blobs.values()
    server.completed(speaker.recording_id)
    server.terminate()
    calls = sum(api.calls.values())
    server.start()
    time.sleep(1)
    assert sum(api.calls.values()) == calls


def test_an_api_that_asks_for_patience_gets_it(sending, api):
    api.fail("segment-upload-url", 429, times=1, Retry_After="2")
    server = sending().start()
    speaker = Ingest(server, participant="p")
    speaker.send(utterances(0.5, hertz=500))
    speaker.stop()
    until("the refusal", lambda: api.calls["segment-upload-url"] == 1)
    told_at = time.monotonic()
    completed(api)
    assert api.calls["segment-upload-url"] == 2 and time.monotonic() - told_at > 1.5
    assert re.search(r"is busy.*again_in_ms=2000", server.log())


def test_what_is_refused_is_not_asked_again_at_once_and_harms_no_call(sending, api):
    api.fail("segment-upload-url", 403)
    server = sending().start()
    speaker = Ingest(server, participant="p")
    speaker.send(utterances(0.5, hertz=500))
    speaker.stop()
    server.completed(speaker.recording_id)
    until("the refusal", lambda: api.calls["segment-upload-url"] == 1)
    time.sleep(3)
    assert api.calls["segment-upload-url"] == 1
    assert "refuses with 403" in server.log()
    # The next start asks again: somebody may have mended it.
    api.mend("segment-upload-url")
    server.terminate()
    server.start()
    assert len(spoken(completed(api))["p"]) == 1


def test_an_address_may_come_from_the_upload_or_be_the_place_without_its_query(sending, api):
    api.answers_url, api.wrapped = False, True
    server = sending().start()
    speaker = Ingest(server, participant="p")
    speaker.send(utterances(0.5, hertz=500))
    speaker.stop()
    (segment,) = spoken(completed(api))["p"]
    assert re.fullmatch(rf"{api.url}/blobs/[0-9a-f]{{32}}", segment["blobUrl"])


def test_more_recordings_than_are_cut_are_recorded_all_the_same(sending, api):
    server = sending(MAX_CONCURRENT_RECORDINGS="1").start()
    first, second = (Ingest(server, call=name, participant="p") for name in ("a", "b"))
    audio = utterances(0.5, hertz=500)
    for speaker in (first, second):
        speaker.send(audio)
        assert speaker.stop() == len(audio) // 2
    assert completed(api)["opening"]["sessionId"] == first.recording_id
    assert server.completed(second.recording_id)["state"] in ("complete", "completed")
    assert len(api.recordings) == 1
    assert server.metric("reeltime_segments_refused_recordings_total") == 1


def test_a_setting_out_of_its_range_says_what_is_allowed(new_server, tmp_path):
    done = run_reeltime("serve", cwd=tmp_path, RECORDING_SILENCE_THRESHOLD="20000")
    assert done.returncode == 2
    assert "RECORDING_SILENCE_THRESHOLD: segments_silence = \"20000\" is not a time from 500ms to 10000ms" in done.stderr


def test_a_call_id_that_nobody_can_guess_is_made_anew_for_each_recording(sending, api):
    server = sending().start()
    ids = []
    for _ in range(2):
        speaker = Ingest(server, call="again", participant="p")
        speaker.send(utterances(0.5, hertz=500))
        speaker.stop()
        server.completed(speaker.recording_id)
        ids.append(speaker.recording_id)
    until("both", lambda: [known["status"] for known in api.recordings.values()] == ["completed"] * 2)
    assert sorted(known["opening"]["sessionId"] for known in api.recordings.values()) == sorted(ids)
    assert all(uuid.UUID(each) for each in ids)


def test_what_our_recorder_sends_our_api_makes_a_recording_of(new_server):
    receiver = new_server().start()
    server = new_server(REELTIME_SEGMENTS=receiver.url(""), REELTIME_SEGMENTS_API_KEY=KEY).start()
    speakers = {name: Ingest(server, call="room", participant=name) for name in ("ann", "bob")}
    audio = {"ann": utterances(0.6, 0.8, hertz=500), "bob": utterances(0.7, hertz=700)}
    for name, speaker in speakers.items():
        speaker.send(audio[name])
    for speaker in speakers.values():
        speaker.stop()
    (received,) = until("the recording", receiver.recordings)
    details = receiver.completed(received["id"])
    # Two segments of one speaker that were sent side by side may come in the other order: then in two tracks.
    assert {track["participant"] for track in details["tracks"]} == {"ann", "bob"}
    for name in speakers:
        pcm = decode(receiver.stream(received["id"], participant=name, format="wav"))
        # What was said, to the sample, with nothing but silence around it.
        length = 2 * round((0.6 if name == "ann" else 0.7) * RATE)
        first = audio[name][:length]
        assert first in pcm
    until("the files to be gone", lambda: local_files(server) == [])
    assert server.metric("reeltime_segments_uploaded_total") == 3
    assert server.metric("reeltime_segments_failed_total") == 0


def test_a_program_with_the_library_in_it_sends_a_channels_users_as_they_talk(api, tmp_path):
    program = Path(BINARY).parent / "examples/record_segments"
    assert program.exists(), f"missing: {program}. cargo test builds it."
    command = (program, tmp_path / "data", "--api", api.url)
    settings = os.environ | {"REELTIME_SEGMENTS_API_KEY": KEY}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not api.problems
    told = spoken(completed(api))
    assert {name: len(segments) for name, segments in told.items()} == {"alice": 2, "bob": 2}
    for name, hertz in (("alice", 440), ("bob", 660)):
        numbered(told[name], "flac")
        for segment in told[name]:
            sound = play(api.blobs[segment["filePath"]], tmp_path, "flac")
            assert (sound.rate, len(sound.channels)) == (48_000, 2)
            for channel in range(2):
                assert sound.power(hertz, 0.05, 0.95, channel) > 0.05, "a second of the speaker's own"
                assert sound.power(1_100 - hertz, 0.05, 0.95, channel) < 0.001, "and nothing of the other"
            seconds = len(sound) / sound.rate
            assert 0.98 <= seconds <= 1.02 + TAIL
            assert seconds < 1.1 or sound.peak(1.05) == 0
