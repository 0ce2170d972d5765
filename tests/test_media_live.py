"""What is heard of a recording while it is being made: as far as it is, in part, and to its end; and of one that is cut."""

import random
import threading
import time

import pytest
from harness import judges
from harness.clients import Ingest
from harness.media import (
    EXACT,
    FORMATS,
    Voice,
    begin,
    click,
    opus_of,
    phrase,
    play,
    samples,
    samples_of,
    silence,
    start_of,
    track_of,
)
from harness.oracle import compare, indexed_pcm
from harness.server import until

API = "/api/v1/recordings"


def spoken(server, voice: Voice, audio: bytes, samples: int) -> None:
    """Said and received: the track has so many samples now."""
    voice.speak(audio)
    recording = voice.client.recording_id
    until(f"{samples} samples of {voice.name}", lambda: samples_of(server, recording, voice.name) >= samples)


@pytest.fixture
def talking(server, request):
    """Two who have said two seconds each and are still there."""
    voices = [Voice(name, phrase(pitch)) for name, pitch in (("caller", 440), ("agent", 1_000))]
    recording = begin(server, f"talking {request.node.name}", *voices, ack="disk")
    for voice in voices:
        voice.client.until_acked(32_000)
    yield recording, voices
    for voice in voices:
        voice.client.close()


def live(server, recording: str, **query):
    return server.get(f"{API}/{recording}/stream", params=query)


@pytest.mark.parametrize("form", FORMATS)
def test_a_snapshot_of_a_live_mix_is_all_that_was_said(server, talking, tmp_path, form):
    recording, _ = talking
    answer = live(server, recording, format=form, layout="stereo")
    assert answer.status_code == 200 and "ETag" not in answer.headers
    assert answer.headers["Cache-Control"] == "private, no-store"
    heard = play(answer.content, tmp_path, form)
    later = start_of(server.recording(recording), "agent", 16_000)
    beyond = len(heard) - (32_000 + later) * (heard.rate // 16_000)
    assert 0 <= beyond <= (2_048 if form == "mp4" else 1_152 if form == "mp3" else 0)
    assert heard.power(440, 0.6, 1.4, 0) == pytest.approx(0.09, rel=0.2)
    assert heard.power(1_000, 0.7, 1.4, 1) == pytest.approx(0.09, rel=0.2)
    assert heard.power(1_000, 0.7, 1.4, 0) < 1e-3


@pytest.mark.parametrize("query", [{}, {"participant": "agent"}, {"layout": "stereo"}, {"rate": 8_000}], ids=str)
def test_a_part_of_a_live_wav_is_that_part_of_it(server, talking, query):
    recording, _ = talking
    whole = live(server, recording, **query)
    assert int(whole.headers["Content-Length"]) == len(whole.content)
    chance = random.Random("live ranges")
    for _ in range(6):
        first = chance.randrange(len(whole.content) - 1)
        last = chance.randrange(first, len(whole.content))
        answer = server.get(whole.url, headers={"Range": f"bytes={first}-{last}"})
        assert (answer.status_code, answer.headers["Content-Range"]) == (206, f"bytes {first}-{last}/*")
        assert answer.content == whole.content[first : last + 1], (first, last)
    behind = server.get(whole.url, headers={"Range": f"bytes={len(whole.content)}-"})
    assert behind.status_code == 416


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("participant", [None, "agent"])
def test_who_follows_hears_what_is_said_later_to_the_end(server, tmp_path, form, participant):
    voices = [Voice(name, phrase(pitch)) for name, pitch in (("caller", 440), ("agent", 1_000))]
    recording = begin(server, f"follow {form} {participant}", *voices)
    got = bytearray()
    query = {"follow": 1, "format": form} | ({"participant": participant} if participant else {})
    with server.get(f"{API}/{recording}/stream", params=query, stream=True) as answer:
        assert answer.status_code == 200 and "Content-Length" not in answer.headers
        reading = threading.Thread(target=lambda: [got.extend(piece) for piece in answer.iter_content(None)])
        reading.start()
        until("the beginning", lambda: len(got) > 0)
        for voice, pitch in zip(voices, (550, 1_300), strict=True):
            spoken(server, voice, phrase(pitch), 64_000)
        for voice in voices:
            voice.client.stop()
        reading.join(20)
        assert not reading.is_alive()
    done = server.completed(recording)
    heard = play(bytes(got), tmp_path, form)
    start = track_of(done, "agent")["start_seconds"] if not participant else 0.0
    for pitch, begins in ((1_000, start), (1_300, start + 2)):
        assert heard.power(pitch, begins + 0.55, begins + 1.4) == pytest.approx(0.09, rel=0.2), pitch
        assert heard.power(pitch, begins + 1.6, begins + 1.9) < 1e-4
    length = (64_000 + int(start * 16_000 + 0.5)) * (heard.rate // 16_000)
    assert 0 <= len(heard) - length <= (0 if form in ("wav", "flac", "ogg") else 2_048), (len(heard), length)
    if not participant:
        assert heard.power(550, 2.6, 3.4) == pytest.approx(0.09, rel=0.2)
    if form == "wav":
        kept = server.stream(recording, **({"participant": participant} if participant else {}))
        assert judges.data_of(bytes(got)) == judges.data_of(kept), "what was followed is what is kept"


def test_who_follows_waits_for_a_silent_speaker_no_longer_than_some_seconds(server):
    caller, agent = Voice("caller", b"", 8_000), Voice("agent", b"", 8_000)
    for voice in (caller, agent):
        voice.join(server, "a silent one", clock=None)
    recording = caller.client.recording_id
    said = indexed_pcm("goes on", 240_000)
    agent.speak(indexed_pcm("falls silent", 4_000))
    stop = threading.Event()

    def talk() -> None:
        """In real time."""
        begun = time.monotonic()
        for number in range(600):
            caller.speak(said[800 * number : 800 * (number + 1)])
            if stop.wait(max(0.0, begun + 0.05 * (number + 1) - time.monotonic())):
                return

    talking = threading.Thread(target=talk)
    talking.start()
    until("both", lambda: all(samples_of(server, recording, name) for name in ("caller", "agent")))
    query = {"follow": 1, "layout": "stereo"}
    got = bytearray()
    with server.get(f"{API}/{recording}/stream", params=query, stream=True, timeout=30) as answer:
        for piece in answer.iter_content(None):
            got.extend(piece)
            if len(got) > 44 + 4 * 20_000:
                break
    stop.set()
    talking.join()
    heard = samples(judges.data_of(bytes(got)))[0::2].tobytes()
    start = start_of(server.recording(recording), "caller", 8_000)
    assert said.startswith(heard[2 * start :]), compare(heard[2 * start :], said[: 2 * 30_000])
    for voice in (caller, agent):
        voice.client.stop()
    server.completed(recording)


@pytest.mark.parametrize("form", FORMATS)
def test_a_followed_file_that_is_cut_plays_to_the_cut(server, tmp_path, form):
    voices = [Voice(name, judges.tone(pitch, 12.0)) for name, pitch in (("caller", 440), ("agent", 1_000))]
    recording = begin(server, f"cut {form}", *voices)
    for voice in voices:
        until("all", lambda voice=voice: samples_of(server, recording, voice.name) == 192_000)
    got = []
    with server.get(f"{API}/{recording}/stream", params={"follow": 1, "format": form}, stream=True) as answer:
        reading = threading.Thread(target=lambda: got.extend(answer.iter_content(None)))
        reading.start()
        for voice in voices:
            voice.client.stop()
        reading.join(20)
    content = b"".join(got)
    seed = f"cut {form}"
    chance = random.Random(seed)
    for _ in range(4):
        cut = chance.randrange(len(content) // 4, len(content))
        heard = play(content[:cut], tmp_path, form)
        share = 12.0 * cut / len(content)
        assert len(heard) / heard.rate > share - 2.3, (seed, cut, len(heard))
        end = len(heard) / heard.rate - 0.2
        assert heard.power(440, 0.5, end) == pytest.approx(0.25, rel=0.1), (seed, cut)


def test_one_who_joins_late_is_placed_where_they_joined(server, tmp_path):
    early, late = Voice("early", click(3.0, 1.0)), Voice("late", click(1.0, 0.5))
    early.join(server, "late joiner")
    spoken(server, early, early.audio, 48_000)
    time.sleep(0.7)
    late.join(server, "late joiner").speak()
    for voice in (early, late):
        voice.client.stop()
    recording = server.completed(early.client.recording_id)
    start = start_of(recording, "late", 16_000)
    assert start >= 0.7 * 16_000
    for form in EXACT:
        heard = play(server.stream(recording["id"], format=form, layout="stereo"), tmp_path, form)
        assert len(heard) == max(48_000, start + 16_000)
        assert heard.loudest(0, 3, 0) == 16_000
        assert heard.loudest(start / 16_000, start / 16_000 + 1, 1) == start + 8_000


def paused(server, call: str, codec: str = "s16le") -> tuple[dict, list[Voice]]:
    """Both pause from their first second to their second, or so: the agent half a second longer."""
    voices = [Voice("caller", b""), Voice("agent", b"")]
    lengths = {"caller": (1.0, 1.0, 1.0), "agent": (1.0, 1.5, 0.5)}
    pitches = {"caller": 440, "agent": 1_000}
    for voice in voices:
        if codec == "opus":
            voice.codec, voice.rate = "opus", 48_000
        voice.join(server, call)
        before, between, after = lengths[voice.name]
        say(voice, judges.tone(pitches[voice.name], before, 48_000 if codec == "opus" else 16_000), codec)
        voice.client.tell("pause", reason="card")
        say(voice, judges.tone(3_000, between, 48_000 if codec == "opus" else 16_000), codec)
        voice.client.tell("resume")
        say(voice, judges.tone(pitches[voice.name], after, 48_000 if codec == "opus" else 16_000), codec)
    return voices


def say(voice: Voice, pcm: bytes, codec: str) -> None:
    voice.speak(opus_of(pcm) if codec == "opus" else pcm)


def both_paused(recording: dict, rate: int) -> int:
    """For how many samples nobody was recorded who was there."""
    spans = []
    for track in recording["tracks"]:
        (pause,) = track["pauses"]
        begins = track["start_seconds"] + pause["at"] / track["rate"]
        spans.append((begins, begins + pause["samples"] / track["rate"]))
    return round((min(end for _, end in spans) - max(start for start, _ in spans)) * rate)


@pytest.mark.parametrize("form", ["wav", "flac", "ogg", "mp3"])
def test_a_pause_is_silence_or_is_skipped_where_all_paused(server, tmp_path, form):
    voices = paused(server, f"pauses {form}")
    for voice in voices:
        voice.client.stop()
    recording = server.completed(voices[0].client.recording_id)
    longest = max(start_of(recording, voice.name, 16_000) for voice in voices) + 48_000
    for layout in ("mono", "stereo"):
        kept = play(server.stream(recording["id"], format=form, layout=layout), tmp_path, form)
        factor = kept.rate // 16_000
        assert len(kept) == longest * factor
        assert kept.peak(1.4, 1.7) <= 16, "nothing stands where both paused"
        skipped = play(server.stream(recording["id"], format=form, layout=layout, pauses="skip"), tmp_path, form)
        assert abs(len(kept) - len(skipped) - both_paused(recording, 16_000) * factor) <= factor
        assert skipped.power(440, 1.2, 1.8) == pytest.approx(0.25, rel=0.1)
        assert max(heard.power(3_000, 0.5, 2.5) for heard in (kept, skipped)) < 1e-5, "what was said in the pause"


def test_the_mix_of_stored_opus_is_the_mix_of_its_log(server, tmp_path):
    voices = paused(server, "opus log and store", "opus")
    recording = voices[0].client.recording_id
    for voice in voices:
        until("all", lambda voice=voice: samples_of(server, recording, voice.name) >= 3 * 48_000)
    query = {"layout": "stereo", "format": "wav"}
    before = play(server.stream(recording, **query), tmp_path, "wav")
    for voice in voices:
        voice.client.stop()
    server.completed(recording)
    after = play(server.stream(recording, **query), tmp_path, "wav")
    assert before.channels == after.channels
    assert after.peak(1.3, 1.8) == 0


@pytest.mark.parametrize("query", [{"layout": "stereo"}, {"rate": 8_000}, {"layout": "tracks", "format": "flac"}], ids=str)
def test_the_mix_of_stored_files_is_the_mix_of_their_logs(server, tmp_path, query):
    voices = [
        Voice("caller", indexed_pcm("caller", 40_000)),
        Voice("agent", indexed_pcm("agent", 20_000), 8_000),
        Voice("zoe", indexed_pcm("zoe", 120_000), 48_000),
    ]
    recording = begin(server, f"log and store {query}", *voices)
    for voice in voices:
        until("all", lambda voice=voice: samples_of(server, recording, voice.name) == len(voice.audio) // 2)
    form = query.get("format", "wav")
    before = play(server.stream(recording, **query), tmp_path, form)
    for voice in voices:
        voice.client.stop()
    server.completed(recording)
    assert play(server.stream(recording, **query), tmp_path, form).channels == before.channels


def test_a_live_call_in_which_nobody_has_spoken_says_so(server):
    clients = [Ingest(server, call="nobody yet", participant=name) for name in "ab"]
    answer = live(server, clients[0].recording_id)
    assert (answer.status_code, answer.headers["Content-Type"]) == (409, "application/problem+json")
    clients[0].send(indexed_pcm("first word", 1_600))
    until("a word", lambda: samples_of(server, clients[0].recording_id, "a"))
    content = live(server, clients[0].recording_id).content
    assert compare(judges.data_of(content), indexed_pcm("first word", 1_600)).intact
    for client in clients:
        client.stop()


@pytest.mark.parametrize("query", [{}, {"layout": "stereo"}, {"layout": "mono", "format": "ogg"}], ids=str)
def test_who_follows_a_mix_hears_those_who_join_later(server, tmp_path, query):
    voices = [Voice("caller", phrase(440)), Voice("agent", phrase(1_000)), Voice("zoe", phrase(2_300))]
    caller, agent, zoe = voices
    caller.join(server, f"joins {query}")
    agent.join(server, f"joins {query}")
    recording = caller.client.recording_id
    spoken(server, caller, phrase(440), 32_000)
    got = bytearray()
    with server.get(f"{API}/{recording}/stream", params={"follow": 1} | query, stream=True) as answer:
        reading = threading.Thread(target=lambda: [got.extend(piece) for piece in answer.iter_content(None)])
        reading.start()
        until("the beginning", lambda: len(got) > 0)
        zoe.join(server, f"joins {query}")
        # In real time: they speak to one another.
        for voice in (agent, zoe):
            spoken(server, voice, phrase(500), 32_000)
        time.sleep(1.0)
        said = {caller: 440, agent: 1_000, zoe: 2_300}
        for voice, pitch in said.items():
            spoken(server, voice, silence(1.0) + phrase(pitch) + silence(1.0), 96_000)
        for voice in voices:
            voice.client.stop()
        reading.join(30)
        assert not reading.is_alive()
    done = server.completed(recording)
    heard = play(bytes(got), tmp_path, query.get("format", "wav"))
    length = max(start_of(done, voice.name, 16_000) for voice in voices) + 96_000
    assert len(heard) == length * (heard.rate // 16_000)
    for voice, pitch in said.items():
        begins = track_of(done, voice.name)["start_seconds"] + 3
        loud = sum(heard.power(pitch, begins + 0.6, begins + 1.4, channel) for channel in range(len(heard.channels)))
        assert loud == pytest.approx(0.09, rel=0.2), voice.name
