"""The words of `reeltime.v1`: start, ack, pause, mark, stop, resume; and what a wrong word gets."""

import contextlib
import json
import time

import pytest
from harness import judges
from harness.clients import Ingest, refused
from harness.oracle import Run, compare, indexed_pcm
from harness.server import of_tracks, on_disk, until
from websockets.exceptions import ConnectionClosed


def wav_data(server, recording_id: str, **query) -> bytes:
    return judges.wave_file(server.stream(recording_id, **query))[1]


def test_the_first_message_says_who_and_where(server):
    client = Ingest(server)
    assert client.socket.subprotocol == "reeltime.v1"
    assert {"session_id", "recording_id", "track_id", "resume_token"} <= client.session.keys()
    assert client.resume_at == 0
    client.stop()


def test_stop_is_answered_with_the_count_and_closed_normally(server):
    client = Ingest(server)
    client.send(indexed_pcm("stop", 12_345))
    assert client.stop() == 12_345


def test_audio_after_stop_is_not_recorded(server):
    pcm = indexed_pcm("before stop", 8_000)
    client = Ingest(server)
    client.send(pcm)
    client.tell("stop")
    client.send(indexed_pcm("after stop", 320))
    assert client.message("stopped")["samples"] == 8_000
    server.completed(client.recording_id)
    assert wav_data(server, client.recording_id) == pcm


def test_acks_grow_and_reach_all_that_was_sent(server):
    client = Ingest(server, ack="disk")
    client.send(indexed_pcm("acked", 32_000))
    client.until_acked(32_000)
    counts = [message["samples"] for message in client.seen if message["type"] == "ack"]
    assert counts == sorted(set(counts)) and counts[-1] == 32_000
    client.stop()


def test_no_ack_comes_unasked(server):
    client = Ingest(server)
    client.send(indexed_pcm("no ack", 32_000))
    client.stop()
    assert [message["type"] for message in client.seen] == ["session", "stopped"]


def test_a_start_message_does_what_the_query_does(server):
    narrow = judges.tone(440, 1.0, rate=8_000)
    client = Ingest(
        server, first={"rate": 8_000, "call": "started", "participant": "ada", "ack": "disk", "clock": "samples"}
    )
    client.send(narrow)
    client.until_acked(8_000)
    client.stop()
    recording = server.completed(client.recording_id)
    assert recording["call_id"] == "started"
    parameters, data = judges.wave_file(server.stream(client.recording_id))
    assert (parameters.framerate, data) == (8_000, narrow)


def test_a_start_that_comes_after_the_session_is_heeded_while_nothing_was_sent(server):
    pcm = indexed_pcm("late start", 8_000)
    client = Ingest(server, clock=None)
    given = client.recording_id
    client.tell("start", rate=8_000, participant="late", clock="samples", ack="disk")
    client.session = client.message("session")
    client.send(pcm)
    client.until_acked(8_000)
    client.stop()
    detail = server.completed(client.recording_id)
    assert [(track["rate"], track["participant"]) for track in detail["tracks"]] == [(8_000, "late")]
    assert wav_data(server, client.recording_id) == pcm
    assert server.get(f"/api/v1/recordings/{given}").status_code == 404


def test_audio_of_a_pause_is_acknowledged_while_it_lasts(server):
    client = Ingest(server, ack="disk")
    client.send(indexed_pcm("before", 3_200))
    client.tell("pause")
    client.send(indexed_pcm("during", 3_200))
    client.until_acked(6_400)
    client.stop()


def test_a_pause_is_counted_silent_and_nowhere_on_disk(new_server):
    server = new_server().start()
    before, secret, after = (indexed_pcm(name, 16_000) for name in ("before", "secret", "after"))
    client = Ingest(server, ack="disk")
    client.send(before)
    client.tell("pause", reason="card number")
    client.send(secret)
    client.tell("resume")
    client.send(after)
    client.until_acked(48_000)
    assert client.stop() == 48_000
    recording = server.completed(client.recording_id)
    verdict = compare(wav_data(server, client.recording_id), before + secret + after)
    assert verdict.runs == (Run(0, 16_000, 0), Run(16_000, 16_000, None), Run(32_000, 16_000, 32_000)), verdict
    (pause,) = of_tracks(recording, "pauses")
    assert pause["reason"] == "card number"
    assert on_disk(server, before) and not on_disk(server, secret)


def test_a_session_stopped_while_paused_counts_the_pause(server):
    pcm = indexed_pcm("paused to the end", 8_000)
    client = Ingest(server)
    client.send(pcm)
    client.tell("pause")
    client.send(indexed_pcm("unheard", 8_000))
    assert client.stop() == 16_000
    server.completed(client.recording_id)
    assert wav_data(server, client.recording_id)[: len(pcm)] == pcm


def test_marks_stand_in_the_recording_in_their_order(server):
    client = Ingest(server)
    for name in ("hello", "überweisung 💶"):
        client.send(indexed_pcm(name, 8_000))
        client.tell("mark", name=name)
    client.stop()
    recording = server.completed(client.recording_id)
    assert [mark["name"] for mark in of_tracks(recording, "marks")] == ["hello", "überweisung 💶"]


def test_a_lost_socket_is_resumed_where_the_server_says(server):
    pcm = indexed_pcm("resumed", 64_000)
    client = Ingest(server, ack="disk", call="resumed")
    client.send(pcm[:64_000])
    client.until_acked(32_000)
    client.send(pcm[64_000:72_000])
    client.cut()
    again = Ingest(server, ack="disk", resume_token=client.token)
    assert again.session["session_id"] == client.session["session_id"]
    assert (again.recording_id, again.track_id) == (client.recording_id, client.track_id)
    assert 32_000 <= again.resume_at <= 36_000
    again.send(pcm[2 * again.resume_at :])
    assert again.stop() == 64_000
    server.completed(client.recording_id)
    verdict = compare(wav_data(server, client.recording_id), pcm)
    assert verdict.intact, verdict


def test_resuming_many_times_loses_and_repeats_nothing(server):
    pcm = indexed_pcm("many resumes", 80_000)
    client = Ingest(server)
    token = client.token
    for cut in range(1, 9):
        client.send(pcm[2 * client.resume_at : cut * 20_000])
        client.cut()
        client = Ingest(server, resume_token=token)
    client.send(pcm[2 * client.resume_at :])
    assert client.stop() == 80_000
    server.completed(client.recording_id)
    verdict = compare(wav_data(server, client.recording_id), pcm)
    assert verdict.intact, verdict


def test_the_newest_connection_of_a_session_wins(server):
    pcm = indexed_pcm("newest", 32_000)
    older = Ingest(server, ack="disk")
    older.send(pcm[:32_000])
    older.until_acked(16_000)
    newer = Ingest(server, resume_token=older.token, ack="disk")
    code, reason = older.closed()
    assert code == 4409 and reason
    assert newer.resume_at == 16_000
    newer.send(pcm[32_000:])
    assert newer.stop() == 32_000
    server.completed(newer.recording_id)
    assert wav_data(server, newer.recording_id) == pcm


@pytest.mark.parametrize("token", ["wrong", "\u202e", "a" * 4_000, "../../etc/passwd", "\0"], ids=ascii)
def test_a_wrong_token_resumes_nothing(server, token):
    error, code, reason = refused(server, resume_token=token)
    assert code == 1008 and reason and error["code"] and error["message"]


def test_the_token_of_an_ended_session_resumes_nothing(server):
    client = Ingest(server)
    client.stop()
    assert refused(server, resume_token=client.token)[1] == 1008


def test_a_session_ends_when_its_client_closes_normally(server):
    pcm = indexed_pcm("closed", 8_000)
    client = Ingest(server)
    client.send(pcm)
    client.close(1001)
    server.completed(client.recording_id)
    assert wav_data(server, client.recording_id) == pcm


def test_a_session_that_is_not_resumed_ends_after_the_window(new_server):
    server = new_server(REELTIME_RESUME_WINDOW="1s").start()
    pcm = indexed_pcm("window", 8_000)
    client = Ingest(server, ack="disk")
    client.send(pcm)
    client.until_acked(8_000)
    client.cut()
    assert server.recording(client.recording_id)["state"] in ("starting", "active")
    server.completed(client.recording_id)
    assert wav_data(server, client.recording_id) == pcm


def test_a_plain_client_whose_socket_is_lost_ends_at_once(server):
    pcm = indexed_pcm("plain", 8_000)
    client = Ingest(server, v1=False)
    client.send(pcm)
    until("the audio to arrive", lambda: len(server.stream(client.recording_id)) >= len(pcm))
    client.cut()
    server.completed(client.recording_id, seconds=5)


def test_odd_and_empty_frames_and_unknown_text_are_dropped_with_one_warning_each(server):
    pcm = indexed_pcm("odd", 16_000)
    client = Ingest(server)
    client.send(pcm[:16_000])
    for _ in range(3):
        client.socket.send(b"\1\2\3")
        client.socket.send(b"")
        client.socket.send("hello?")
        client.tell("unheard-of")
    client.send(pcm[16_000:])
    assert client.stop() == 16_000
    warnings = [json.dumps(message) for message in client.seen if message["type"] == "warning"]
    assert warnings and len(warnings) == len(set(warnings)), warnings
    server.completed(client.recording_id)
    assert wav_data(server, client.recording_id) == pcm


@pytest.mark.parametrize(
    "query",
    [
        {"codec": "mp3"},
        {"codec": ""},
        {"codec": "opus", "rate": 44_100},
        {"rate": 0},
        {"rate": -1},
        {"rate": "fast"},
        {"rate": 10_000_000},
        {"channels": 0},
        {"channels": 300},
        {"ack": "maybe"},
        {"clock": "cuckoo"},
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_and_refused(server, query):
    error, code, reason = refused(server, **query)
    assert code in (1003, 1007, 1008) and reason
    assert error["code"] and next(iter(query)) in error["message"], error


def test_a_wrong_start_message_is_refused_like_a_wrong_query(server):
    error, code, _ = refused(server, messages=[json.dumps({"type": "start", "codec": "mp3"})])
    assert code in (1003, 1007, 1008) and "codec" in error["message"]


def test_a_message_that_is_too_long_is_refused_and_what_came_before_is_kept(server):
    pcm = indexed_pcm("too long", 8_000)
    client = Ingest(server)
    client.send(pcm)
    with contextlib.suppress(ConnectionError, ConnectionClosed):
        client.socket.send(bytes(32 << 20))
    code, reason = client.closed()
    assert code == 1009 and reason
    assert any(message["type"] == "error" for message in client.seen)
    again = Ingest(server, resume_token=client.token)
    assert again.resume_at == 8_000
    again.stop()
    server.completed(client.recording_id)
    assert wav_data(server, client.recording_id) == pcm


def test_a_source_that_falls_silent_leaves_a_gap(server):
    first, second = indexed_pcm("first words", 16_000), indexed_pcm("after silence", 16_000)
    client = Ingest(server, clock=None)
    client.send(first, pace=0.02)
    time.sleep(2)
    client.send(second, pace=0.02)
    client.stop()
    recording = server.completed(client.recording_id)
    (gap,) = of_tracks(recording, "gaps")
    assert gap["reason"] == "silent_source"
    data = wav_data(server, client.recording_id)
    at = data.find(second) // 2
    assert data.startswith(first) and at == pytest.approx(48_000, abs=4_800)
    assert not any(data[len(first) : 2 * at])


def test_a_burst_that_makes_up_for_a_stall_leaves_no_gap(server):
    pcm = indexed_pcm("burst", 64_000)
    client = Ingest(server, clock=None)
    client.send(pcm[:32_000], pace=0.02)
    time.sleep(2)
    client.send(pcm[32_000:])
    client.stop()
    recording = server.completed(client.recording_id)
    assert of_tracks(recording, "gaps") == []
    assert compare(wav_data(server, client.recording_id), pcm).intact
