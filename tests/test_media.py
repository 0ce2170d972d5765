"""What is heard of a recording, in every format and layout: who, where, when and how loud, as other people's players say."""

import pytest
from harness import judges
from harness.media import (
    EXACT,
    FORMATS,
    LOSSY,
    MIME,
    Voice,
    complains,
    g711_of,
    loudness,
    opus_of,
    phrase,
    play,
    probe,
    record,
    samples,
    silence,
    start_of,
    track_of,
)
from harness.oracle import compare, indexed_pcm

CALLER, AGENT, THIRD = 440, 1_000, 2_300
LEVEL = 0.3**2
"""The power of a phrase's tone."""


@pytest.fixture(scope="module")
def pair(server) -> dict:
    """The agent is there first: the caller sits left all the same."""
    agent, caller = Voice("agent", phrase(AGENT)), Voice("caller", phrase(CALLER))
    return record(server, "pair", agent, caller)


@pytest.fixture(scope="module")
def crowd(server) -> dict:
    voices = [Voice("caller", phrase(CALLER)), Voice("agent", phrase(AGENT, 8_000), 8_000)]
    return record(server, "crowd of three", *voices, Voice("zoe", phrase(THIRD, 48_000), 48_000))


@pytest.fixture(scope="module")
def single(server) -> tuple[dict, bytes]:
    pcm = indexed_pcm("single", 40_007)
    return record(server, "single", Voice("ada", pcm)), pcm


def fetched(server, recording: dict, tmp_path, form: str, **query):
    """The file as it is kept, which its own format's tool has nothing against, and what is heard of it."""
    made = server.stream(recording["id"], format=form, **query)
    content = server.stream(recording["id"], format=form, **query)
    assert len(content) == len(made), "only its head is known better when all of it was made"
    path = tmp_path / f"{form}-{'-'.join(f'{value}' for value in query.values())}.{form}"
    path.write_bytes(content)
    assert not complains(form, path)
    return path, play(content, tmp_path, form)


def assert_length(path, form: str, heard, length: int, rate: int) -> None:
    """To the sample; ffmpeg plays the last frame of AAC to its end, but reads how long the file is."""
    played = heard.rate // rate * length
    if form == "mp4":
        assert int(probe(path)["duration_ts"]) == length
        assert length <= len(heard) < length + 2_048
    else:
        assert len(heard) == played, (form, len(heard), played)


def assert_phrase(heard, pitch: int, start: float, channel: int = 0, gain: float = 1.0, exact: bool = False) -> None:
    """A phrase is heard from `start` seconds on: its click to the sample, its tone to the decibel."""
    at = start + 0.25
    found = heard.loudest(at - 0.03, at + 0.03, channel)
    assert abs(found - at * heard.rate) <= (1 if exact else heard.rate / 16_000 + 1), (found, at * heard.rate)
    level = heard.power(pitch, start + 0.55, start + 1.45, channel)
    assert level == pytest.approx(LEVEL * gain**2, rel=0.02 if exact else 0.2)
    assert heard.power(pitch, start + 1.55, start + 1.9, channel) < 1e-4
    assert heard.power(pitch, start + 0.3, start + 0.45, channel) < 1e-4


@pytest.mark.parametrize("form", FORMATS)
def test_a_mix_holds_everyone_where_they_spoke(server, pair, tmp_path, form):
    path, heard = fetched(server, pair, tmp_path, form)
    later = start_of(pair, "caller", 16_000)
    assert len(heard.channels) == 1
    assert_length(path, form, heard, 32_000 + later, 16_000)
    assert heard.power(AGENT, 0.55, 1.45) == pytest.approx(LEVEL, rel=0.2)
    begin = later / 16_000
    assert heard.power(CALLER, begin + 0.55, begin + 1.45) == pytest.approx(LEVEL, rel=0.2)
    assert max(heard.power(CALLER, 0.3, 0.5), heard.power(AGENT, 1.55, 1.95)) < 1e-4


@pytest.mark.parametrize("form", FORMATS)
def test_in_stereo_the_caller_is_left_and_the_agent_right(server, pair, tmp_path, form):
    path, heard = fetched(server, pair, tmp_path, form, layout="stereo")
    begin = start_of(pair, "caller", 16_000)
    assert_length(path, form, heard, 32_000 + begin, 16_000)
    assert len(heard.channels) == 2
    exact = form in EXACT
    assert_phrase(heard, CALLER, begin / 16_000, 0, exact=exact)
    assert_phrase(heard, AGENT, 0.0, 1, exact=exact)
    crosstalk = max(heard.power(AGENT, 0.6, 1.4, 0), heard.power(CALLER, 0.6, 1.4, 1))
    assert crosstalk < (1e-9 if exact else 1e-3), crosstalk


def test_who_sits_where_can_be_said(server, pair, tmp_path):
    _, swapped = fetched(server, pair, tmp_path, "wav", layout="stereo", left="agent", right="caller")
    assert_phrase(swapped, AGENT, 0.0, 0, exact=True)
    assert_phrase(swapped, CALLER, start_of(pair, "caller", 16_000) / 16_000, 1, exact=True)
    _, said = fetched(server, pair, tmp_path, "wav", left="agent", right="caller")
    assert said.power(CALLER, 0.6, 1.4, 1) > 0.08 and said.power(AGENT, 0.6, 1.4, 0) > 0.08


@pytest.mark.parametrize("query", [{"left": "nobody"}, {"right": "agent,nobody"}, {"left": "caller", "right": "caller"}], ids=str)
def test_sides_that_make_no_sense_are_refused_with_who_there_is(server, pair, query):
    answer = server.get(f"/api/v1/recordings/{pair['id']}/stream", params={"layout": "stereo"} | query)
    assert answer.status_code == 422, answer.text
    assert ("nobody" in answer.json()["detail"] and "agent, caller" in answer.json()["detail"]) or "left and right" in answer.json()["detail"]


@pytest.mark.parametrize("form", FORMATS)
def test_three_speakers_of_three_rates_each_have_a_side(server, crowd, tmp_path, form):
    path, heard = fetched(server, crowd, tmp_path, form, layout="stereo")
    length = max(start_of(crowd, name, 48_000) for name in ("caller", "agent", "zoe")) + 96_000
    assert_length(path, form, heard, length, 48_000)
    assert heard.power(CALLER, 0.6, 1.4, 0) == pytest.approx(LEVEL, rel=0.2)
    assert heard.power(AGENT, 0.6, 1.4, 1) == pytest.approx(LEVEL, rel=0.2)
    left, right = heard.power(THIRD, 0.6, 1.4, 0), heard.power(THIRD, 0.6, 1.4, 1)
    assert left + right == pytest.approx(LEVEL, rel=0.2), "constant power"
    assert left > 2 * right > 0.001, "nearer to the side with fewer"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("name", "pitch", "rate"), [("caller", CALLER, 16_000), ("agent", AGENT, 8_000)])
def test_one_participant_is_heard_alone(server, crowd, tmp_path, form, name, pitch, rate):
    path, heard = fetched(server, crowd, tmp_path, form, participant=name)
    assert_length(path, form, heard, 2 * rate, rate)
    assert len(heard.channels) == 1
    assert_phrase(heard, pitch, 0.0, exact=form in EXACT)
    assert all(heard.power(other, 0.6, 1.4) < 1e-4 for other in (CALLER, AGENT, THIRD) if other != pitch)


@pytest.mark.parametrize("form", EXACT)
def test_tracks_have_a_channel_each(server, crowd, tmp_path, form):
    _, heard = fetched(server, crowd, tmp_path, form, layout="tracks")
    order = sorted(crowd["tracks"], key=lambda track: track["start_seconds"])
    pitches = {"caller": CALLER, "agent": AGENT, "zoe": THIRD}
    assert len(heard.channels) == 3
    for channel, track in enumerate(order):
        name = track["participant"]
        assert_phrase(heard, pitches[name], start_of(crowd, name, 48_000) / 48_000, channel, exact=True)
        assert all(heard.power(pitches[other], 0.6, 1.4, channel) < 1e-9 for other in pitches if other != name)


@pytest.mark.parametrize("form", LOSSY)
def test_two_tracks_have_a_channel_each_in_every_format(server, pair, tmp_path, form):
    path, heard = fetched(server, pair, tmp_path, form, layout="tracks")
    assert len(heard.channels) == 2
    assert_phrase(heard, AGENT, 0.0, 0)
    assert_phrase(heard, CALLER, start_of(pair, "caller", 16_000) / 16_000, 1)


@pytest.mark.parametrize("query", [{}, {"format": "wav"}, {"layout": "mono"}, {"layout": "tracks"}, {"format": "flac"}])
def test_one_track_is_bit_for_bit_what_was_sent(server, single, tmp_path, query):
    recording, pcm = single
    form = query.get("format", "wav")
    content = server.stream(recording["id"], **query)
    heard = play(content, tmp_path, form)
    assert (heard.rate, compare(heard.channels[0].tobytes(), pcm).intact) == (16_000, True)
    if form == "flac":
        raw = ("--force-raw-format", "--endian=little", "--sign=signed")
        assert judges.run("flac", "--decode", "--stdout", "--silent", *raw, "-", stdin=content) == pcm


def test_a_mix_at_gain_one_is_bit_for_bit_where_one_speaks(server, tmp_path):
    first, second = indexed_pcm("turn one", 16_000), indexed_pcm("turn two", 16_000)
    voices = Voice("a", first + silence(1.5)), Voice("b", silence(1.2) + second)
    recording = record(server, "turns", *voices)
    later = start_of(recording, "b", 16_000)
    for form in EXACT:
        mix = play(server.stream(recording["id"], format=form), tmp_path, form).channels[0].tobytes()
        assert mix[:32_000] == first
        begin = 2 * (19_200 + later)
        assert mix[begin : begin + 32_000] == second
        assert not any(mix[32_000:begin])


@pytest.mark.parametrize("form", FORMATS)
def test_two_who_shout_at_once_do_not_clip(server, tmp_path, form):
    name = f"shout {form}"
    singers = [Voice(f"at {hertz}", judges.tone(hertz, 2.0, level=0.95)) for hertz in (500, 700)]
    recording = record(server, name, *singers)
    _, heard = fetched(server, recording, tmp_path, form)
    assert heard.peak(0.3, 1.5) > 28_000, "as loud as can be"
    assert heard.power(500, 0.3, 1.5) == pytest.approx(heard.power(700, 0.3, 1.5), rel=0.2)
    # What is cut has pitches that nobody sang; what is turned down has none.
    for hertz in (300, 900, 1_500, 1_900, 2_100):
        assert heard.power(hertz, 0.3, 1.5) < 2e-3 * heard.power(500, 0.3, 1.5), hertz


@pytest.mark.parametrize("form", FORMATS)
def test_the_answer_says_what_it_is(server, pair, form):
    answer = server.get(f"/api/v1/recordings/{pair['id']}/stream", params={"format": form, "layout": "stereo"})
    assert answer.headers["Content-Type"] == f"audio/{MIME[form]}"
    assert answer.headers["Content-Disposition"] == f"inline; filename=recording_{pair['id']}.{form}"


@pytest.mark.parametrize("form", ["flac", "ogg", "mp3", "webm", "mp4"])
def test_the_file_says_of_which_call_it_is(server, pair, tmp_path, form):
    path, _ = fetched(server, pair, tmp_path, form)
    told = judges.run("mediainfo", "--Output=JSON", str(path)).decode()
    assert '"pair"' in told and pair["id"] in told, told
    assert "caller" in told and "agent" in told


def test_many_codecs_and_rates_are_one_call(server, tmp_path):
    voices = {
        "pcm8": (600, Voice("pcm8", phrase(600, 8_000), 8_000)),
        "pcm24": (900, Voice("pcm24", phrase(900, 24_000), 24_000)),
        "pcm44": (1_300, Voice("pcm44", phrase(1_300, 44_100), 44_100)),
        "pcm48": (1_700, Voice("pcm48", phrase(1_700, 48_000), 48_000)),
        "mulaw": (2_100, Voice("mulaw", g711_of(phrase(2_100, 8_000), "mulaw"), 8_000, "mulaw")),
        "alaw": (2_600, Voice("alaw", g711_of(phrase(2_600, 8_000), "alaw"), 8_000, "alaw")),
        "opus": (3_100, Voice("opus", opus_of(phrase(3_100, 48_000)), 48_000, "opus")),
    }
    recording = record(server, "babel", *(voice for _, voice in voices.values()))
    _, heard = fetched(server, recording, tmp_path, "wav", layout="tracks")
    assert (heard.rate, len(heard.channels)) == (48_000, 7)
    order = sorted(recording["tracks"], key=lambda track: track["start_seconds"])
    for channel, track in enumerate(order):
        name = track["participant"]
        start = start_of(recording, name, 48_000) / 48_000
        # An Opus encoder is late by its own delay.
        start += 312 / 48_000 if name == "opus" else 0
        pitch = voices[name][0]
        at = start + 0.25
        assert abs(heard.loudest(at - 0.03, at + 0.03, channel) - at * 48_000) <= 6, name
        assert heard.power(pitch, start + 0.55, start + 1.45, channel) == pytest.approx(LEVEL, rel=0.1), name
    _, mixed = fetched(server, recording, tmp_path, "ogg")
    heard = [mixed.power(pitch, 0.7, 1.3) for pitch, _ in voices.values()]
    assert min(heard) > 0.02 and max(heard) < 1.5 * min(heard), "turned down together, since seven are too loud"


@pytest.mark.parametrize("form", FORMATS)
def test_g711_is_made_into_any_format(server, speech, tmp_path, form):
    narrow = g711_of(phrase(CALLER, 8_000), "alaw")
    recording = record(server, f"alaw {form}", Voice("a", narrow, 8_000, "alaw"))
    path, heard = fetched(server, recording, tmp_path, form, decode="1")
    assert_length(path, form, heard, 16_000, 8_000)
    assert_phrase(heard, CALLER, 0.0, exact=form in EXACT)


@pytest.mark.parametrize("form", FORMATS)
def test_opus_is_made_into_any_format(server, tmp_path, form):
    packets = opus_of(phrase(CALLER, 48_000))
    recording = record(server, f"opus {form}", Voice("a", packets, 48_000, "opus"))
    path, heard = fetched(server, recording, tmp_path, form, **({} if form == "ogg" else {"rate": 24_000}))
    assert_phrase(heard, CALLER, 0.0 if form == "ogg" else 312 / 48_000)
    if form != "ogg":
        assert_length(path, form, heard, 480 * len(packets), 24_000)


@pytest.mark.parametrize("target", [-16, -23])
def test_levels_are_evened(server, speech, target):
    loud = samples(speech * 2)
    quiet = samples(speech * 2)
    for index, sample in enumerate(quiet):
        quiet[index] = round(sample / 4)
    recording = record(server, f"levels {target}", Voice("loud", loud.tobytes()), Voice("quiet", quiet.tobytes()))
    plain = server.stream(recording["id"], layout="tracks")
    assert loudness(plain, 0) - loudness(plain, 1) > 10
    both = server.stream(recording["id"], layout="tracks", loudness=target)
    for channel in (0, 1):
        assert loudness(both, channel) == pytest.approx(target, abs=1)
    for name in ("loud", "quiet"):
        alone = server.stream(recording["id"], participant=name, loudness=target)
        assert loudness(alone) == pytest.approx(target, abs=1)


BITRATES = [("ogg", "24k"), ("ogg", "64k"), ("webm", "24k"), ("mp3", "32k"), ("mp3", "64000"), ("mp4", "48k")]


@pytest.mark.parametrize(("form", "bitrate"), BITRATES)
def test_the_bit_rate_is_what_was_asked_for(server, tmp_path, form, bitrate):
    noise = indexed_pcm(f"noise {form} {bitrate}", 160_000)
    recording = record(server, f"bits {form} {bitrate}", Voice("a", noise))
    content = server.stream(recording["id"], format=form, bitrate=bitrate)
    asked = int(bitrate.replace("k", "000"))
    assert len(content) * 8 / 10 == pytest.approx(asked, rel=0.15)
    assert len(play(content, tmp_path, form)) > 0


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
def test_the_rate_is_what_was_asked_for(server, pair, tmp_path, form, rate):
    path, heard = fetched(server, pair, tmp_path, form, layout="stereo", rate=rate)
    assert_length(path, form, heard, 2 * rate + start_of(pair, "caller", rate), rate)
    if form not in ("ogg", "webm"):
        assert heard.rate == rate
    assert_phrase(heard, CALLER, start_of(pair, "caller", 48_000) / 48_000, 0)
