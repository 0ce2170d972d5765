"""What was sent comes back: bit for bit, while it is being made and after, by clients and readers of every kind."""

import wave

import pytest
from harness import clients, judges
from harness.clients import Ingest
from harness.oracle import compare, indexed_pcm, with_gain
from harness.server import on_disk, until


def samples(pcm: bytes) -> int:
    return len(pcm) // 2


def recorded(server, pcm: bytes, frame: int = clients.FRAME, **query) -> str:
    """Sent and stopped; the recording's id once it is complete."""
    client = Ingest(server, **query)
    client.send(pcm, frame)
    client.stop()
    server.completed(client.recording_id)
    return client.recording_id


def test_a_mono_track_comes_back_bit_for_bit(server):
    pcm = indexed_pcm("mono", 48_000)
    content = server.stream(recorded(server, pcm))
    parameters, data = judges.wave_file(content)
    assert parameters[:3] == (1, 2, 16_000)
    assert compare(data, pcm).intact
    assert judges.sox_decode(content) == pcm
    assert judges.decode(content) == pcm


@pytest.mark.parametrize("frame", [2, 160, 641 * 2, 32_000, 65_536], ids=lambda size: f"{size}_byte_messages")
def test_the_size_of_the_messages_does_not_matter(server, frame):
    pcm = indexed_pcm(f"frame {frame}", 16_000)
    assert judges.wave_file(server.stream(recorded(server, pcm, frame)))[1] == pcm


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100, 48_000])
def test_other_rates_are_kept_as_they_are(server, rate):
    pcm = indexed_pcm(f"rate {rate}", rate)
    parameters, data = judges.wave_file(server.stream(recorded(server, pcm, rate=rate)))
    assert (parameters.framerate, data) == (rate, pcm)


def test_the_other_readers_agree_on_the_finished_file(server, speech, tmp_path):
    path = tmp_path / "speech.wav"
    path.write_bytes(server.stream(recorded(server, speech)))
    seconds = samples(speech) / 16_000
    facts = judges.ffprobe(path.read_bytes())
    assert (facts["codec_name"], facts["sample_rate"], facts["channels"]) == ("pcm_s16le", "16000", 1)
    assert judges.soxi_samples(path) == samples(speech)
    told = judges.run("mediainfo", "--Inform=Audio;%Duration%", str(path))
    assert float(told) == pytest.approx(1_000 * seconds, abs=1)
    judges.run("flac", "--silent", "--force", "-o", str(tmp_path / "speech.flac"), str(path))
    assert judges.decode((tmp_path / "speech.flac").read_bytes()) == speech


def test_tones_are_heard_when_they_were_sent(server):
    pitches = [440, 880, 1_320]
    sent = b"".join(judges.tone(pitch, 0.5) for pitch in pitches)
    data = judges.wave_file(server.stream(recorded(server, sent)))[1]
    for place, pitch in enumerate(pitches):
        heard = data[place * 16_000 : (place + 1) * 16_000]
        assert judges.power(heard, pitch, 16_000) == pytest.approx(0.25, rel=0.02)
        assert all(judges.power(heard, other, 16_000) < 0.001 for other in pitches if other != pitch)


def test_every_look_at_a_live_recording_is_a_file_with_a_prefix_of_it(server, tmp_path):
    pcm = indexed_pcm("live", 80_000)
    client = Ingest(server, ack="disk")
    path = tmp_path / "live.wav"
    lengths = []
    for step in range(5):
        client.send(pcm[step * 32_000 : (step + 1) * 32_000])
        client.until_acked((step + 1) * 16_000)
        content = server.stream(client.recording_id)
        data = judges.data_of(content)
        assert pcm.startswith(data), compare(data, pcm)
        assert judges.decode(content) == data == judges.sox_decode(content)
        assert judges.ffprobe(content)["codec_name"] == "pcm_s16le"
        path.write_bytes(content)
        assert judges.soxi_samples(path) >= samples(data)
        with wave.open(str(path)) as reader:
            assert reader.readframes(80_000) == data
        lengths.append(samples(data))
    assert all(length >= 16_000 * (step + 1) for step, length in enumerate(lengths)), lengths
    assert server.recording(client.recording_id)["state"] in ("starting", "active")
    client.stop()
    server.completed(client.recording_id)
    assert judges.wave_file(server.stream(client.recording_id))[1] == pcm


def test_following_a_live_recording_gives_all_of_it(server):
    pcm = indexed_pcm("follow", 48_000)
    client = Ingest(server, ack="disk")
    client.send(pcm[:32_000])
    client.until_acked(16_000)
    with server.get(f"/api/v1/recordings/{client.recording_id}/stream", params={"follow": 1}, stream=True) as answer:
        assert answer.status_code == 200
        pieces = answer.iter_content(None)
        got = next(pieces)
        client.send(pcm[32_000:])
        client.stop()
        got += b"".join(pieces)
    assert compare(judges.data_of(got), pcm).intact


def test_stereo_keeps_both_channels_in_their_places(server):
    left, right = indexed_pcm("left", 16_000), indexed_pcm("right", 16_000)
    both = b"".join(left[i : i + 2] + right[i : i + 2] for i in range(0, len(left), 2))
    content = server.stream(recorded(server, both, channels=2))
    parameters, data = judges.wave_file(content)
    assert (parameters.nchannels, data) == (2, both)
    assert judges.run("sox", "-t", "wav", "-", "-t", "raw", "-", "remix", "2", stdin=content) == right


@pytest.mark.parametrize(("codec", "kind", "ffmpeg"), [("mulaw", "ul", "mulaw"), ("alaw", "al", "alaw")])
def test_g711_decodes_to_what_was_sent(server, speech, codec, kind, ffmpeg):
    narrow = judges.run(
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "s16le",
        "-ar",
        "16000",
        "-ac",
        "1",
        "-i",
        "-",
        "-ar",
        "8000",
        "-f",
        ffmpeg,
        "-",
        stdin=speech,
    )
    content = server.stream(recorded(server, narrow, 160, codec=codec, rate=8_000))
    assert judges.ffprobe(content)["sample_rate"] == "8000"
    assert judges.decode(content) == judges.decode(narrow, source=("-f", ffmpeg, "-ar", "8000", "-ac", "1"))
    assert judges.sox_decode(content) == judges.sox_decode(narrow, kind, ("-r", "8000", "-c", "1"))


@pytest.mark.parametrize("milliseconds", [20, 60])
def test_opus_is_kept_packet_by_packet(server, speech, tmp_path, milliseconds):
    made = judges.run(
        "opusenc",
        "--quiet",
        "--raw",
        "--raw-rate",
        "16000",
        "--raw-chan",
        "1",
        "--framesize",
        str(milliseconds),
        "-",
        "-",
        stdin=speech,
    )
    packets = judges.opus_packets(made)
    client = Ingest(server, codec="opus", rate=48_000)
    for packet in packets:
        client.socket.send(packet)
    length = sum(map(judges.opus_samples, packets))
    assert client.stop() == length
    server.completed(client.recording_id)
    content = server.stream(client.recording_id, format="ogg")
    assert judges.opus_packets(content) == packets
    path = tmp_path / "speech.opus"
    path.write_bytes(content)
    told = judges.run("opusinfo", str(path)).decode()
    assert "WARNING" not in told and "ERROR" not in told, told
    facts = judges.ffprobe(content)
    assert (facts["codec_name"], facts["format"]) == ("opus", "ogg")
    seconds = samples(judges.decode(content)) / facts["channels"] / 48_000
    assert seconds == pytest.approx(length / 48_000, abs=0.02)


def test_a_live_opus_recording_plays_up_to_now(server, speech, tmp_path):
    made = judges.run("opusenc", "--quiet", "--raw", "--raw-rate", "16000", "--raw-chan", "1", "-", "-", stdin=speech)
    packets = judges.opus_packets(made)
    half = len(packets) // 2
    client = Ingest(server, codec="opus", rate=48_000, ack="disk")
    for packet in packets[:half]:
        client.socket.send(packet)
    client.until_acked(half * 960)
    content = server.stream(client.recording_id, format="ogg")
    got = judges.opus_packets(content)
    assert got == packets[:half]
    assert samples(judges.decode(content, 48_000)) >= (half - 1) * 960
    client.stop()


def test_two_participants_of_a_call_are_two_tracks_of_one_recording(server):
    voices = {name: indexed_pcm(name, 16_000) for name in ("ada", "grace")}
    joined = {name: Ingest(server, call="two voices", participant=name) for name in voices}
    assert joined["ada"].recording_id == joined["grace"].recording_id
    assert joined["ada"].track_id != joined["grace"].track_id
    for name, client in joined.items():
        client.send(voices[name])
    for client in joined.values():
        client.stop()
    recording = server.completed(joined["ada"].recording_id)
    assert set(recording["participants"]) == set(voices)
    for name, pcm in voices.items():
        data = judges.wave_file(server.stream(recording["id"], participant=name))[1]
        verdict = compare(data, pcm)
        assert (verdict.lost, verdict.duplicated, verdict.foreign) == (0, 0, 0), verdict
        assert all(run.at == 0 for run in verdict.runs if run.source is None), verdict


def test_a_later_connection_of_a_call_makes_another_recording(server):
    first = Ingest(server, call="again")
    first.send(indexed_pcm("first", 8_000))
    first.stop()
    server.completed(first.recording_id)
    second = Ingest(server, call="again")
    assert second.recording_id != first.recording_id
    second.send(indexed_pcm("second", 8_000))
    second.stop()
    server.completed(second.recording_id)
    assert [each["id"] for each in server.recordings(call_id="again")] == [second.recording_id, first.recording_id]


@pytest.mark.parametrize("ending", ["stop", "close"])
def test_node_ws_records(server, tmp_path, ending):
    pcm = indexed_pcm(f"node {ending}", 32_000)
    audio = tmp_path / "audio.raw"
    audio.write_bytes(pcm)
    told = clients.node(
        server,
        "/v1/ingest/pcm?clock=samples",
        audio,
        stop=ending == "stop",
        subprotocol="reeltime.v1" if ending == "stop" else "",
    )
    recording_id = told["messages"][0]["recording_id"]
    assert told["code"] == 1000
    server.completed(recording_id)
    assert compare(judges.wave_file(server.stream(recording_id))[1], pcm).intact


def test_websocat_records_a_pipe(server):
    pcm = indexed_pcm("websocat", 32_000)
    messages = clients.websocat(server, "/v1/ingest/pcm?clock=samples", pcm)
    recording_id = messages[0]["recording_id"]
    server.completed(recording_id)
    assert compare(judges.wave_file(server.stream(recording_id))[1], pcm).intact


def of_session(server, session_id: str) -> dict:
    """The only recording there is, once it is complete: a plain client is not told its id."""
    (recording,) = until("the recording to be listed", server.recordings)
    assert session_id
    return server.completed(recording["id"])


@pytest.mark.parametrize("gain", [1.0, 2.0, 4.0])
def test_a_plain_transcribe_client_is_recorded_with_its_gain(new_server, speech, gain):
    server = new_server(BACKEND_RECORD_GAIN=str(gain)).start()
    recording = of_session(server, clients.transcribe(server, speech))
    data = judges.wave_file(server.stream(recording["id"]))[1]
    assert data == with_gain(speech, gain)
    assert recording["duration_seconds"] == pytest.approx(samples(speech) / 16_000)


def test_a_transcribe_client_gets_a_gain_of_two_and_the_others_of_one_by_default(new_server):
    server = new_server().start()
    quiet = judges.tone(440, 1.0, level=0.25)
    recording = of_session(server, clients.transcribe(server, quiet))
    assert judges.wave_file(server.stream(recording["id"]))[1] == with_gain(quiet, 2.0)
    assert judges.wave_file(server.stream(recorded(server, quiet)))[1] == quiet


@pytest.mark.parametrize("name", ["ENABLE_AUDIO_RECORDING", "ENABLE_BACKEND_RECORDING"])
def test_recording_of_transcribe_clients_can_be_switched_off(new_server, speech, name):
    server = new_server(**{name: "false"}).start()
    clients.transcribe(server, speech)
    assert server.recordings() == []
    assert not on_disk(server, speech)
