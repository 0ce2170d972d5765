"""What is kept and what is made again: renditions, the files made on demand, their ranges and tags, and what cannot be made."""

import os
import re
import threading
import time
from pathlib import Path

import pytest
from harness import judges
from harness.clients import Ingest
from harness.media import FORMATS, LOSSY, Voice, begin, phrase, play, record
from harness.oracle import indexed_pcm
from harness.server import as_root, until

API = "/api/v1/recordings"
LAYOUT = {"layout": "stereo"}


def pair(server, call: str) -> dict:
    return record(server, call, Voice("caller", phrase(440)), Voice("agent", phrase(1_000)))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def cached(server) -> list[Path]:
    """Files of sound that are kept, or on their way; not the peaks that were made with the recording."""
    return [path for path in files(server.data_dir / "cache") if path.suffix != ".dat"]


def renditions(server, recording_id: str) -> list[tuple[str, str]]:
    manifest = server.get(f"{API}/{recording_id}/manifest").json()
    kept = manifest.get("renditions", [])
    for each in kept:
        path = server.data_dir / "objects" / each["key"]
        assert path.stat().st_size == each["bytes"]
    return [(each["format"], each["layout"]) for each in kept]


def test_a_call_of_several_keeps_a_mix_and_of_one_none(server):
    recording = pair(server, "keeps a mix")
    assert renditions(server, recording["id"]) == [("wav", "mono")]
    objects = [path for path in files(server.data_dir / "objects") if recording["id"] in path.name]
    mix = server.stream(recording["id"])
    assert [path.read_bytes() for path in objects if path.name.endswith("-mono.wav")] == [mix]
    # Anything that asks for the same in other words makes it anew: from the stored tracks, not from the log.
    again = server.stream(recording["id"], rate=16_000)
    assert judges.data_of(again) == judges.data_of(mix)
    alone = record(server, "keeps itself", Voice("caller", phrase(440)))
    assert renditions(server, alone["id"]) == []


def test_what_is_kept_is_a_setting(new_server, tmp_path):
    server = new_server(REELTIME_RENDITIONS="wav:mono,mp3:stereo,flac:tracks").start()
    recording = pair(server, "settings")["id"]
    assert renditions(server, recording) == [("wav", "mono"), ("mp3", "stereo"), ("flac", "tracks")]
    before = cached(server)
    for form, layout in renditions(server, recording):
        answer = server.get(f"{API}/{recording}/stream", params={"format": form, "layout": layout})
        assert int(answer.headers["Content-Length"]) == len(answer.content) and answer.headers["ETag"].startswith('"')
        heard = play(answer.content, tmp_path, form)
        assert heard.power(440, 0.6, 1.4, 0) == pytest.approx(0.09, rel=0.2)
        assert len(heard.channels) == (1 if layout == "mono" else 2)
    assert cached(server) == before == [], "what is kept is not made again"


def test_nothing_but_the_tracks_may_be_kept(new_server, tmp_path):
    server = new_server("--renditions", "none").start()
    recording = pair(server, "none")["id"]
    assert renditions(server, recording) == []
    assert play(server.stream(recording), tmp_path, "wav").power(440, 0.6, 1.4) == pytest.approx(0.09, rel=0.2)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_made_once_has_a_length_ranges_and_a_tag(server, form):
    recording = pair(server, f"made once {form}")["id"]
    query = {"format": form} | LAYOUT
    first = server.get(f"{API}/{recording}/stream", params=query)
    second = server.get(first.url)
    assert int(second.headers["Content-Length"]) == len(second.content) == len(first.content)
    tag = second.headers["ETag"]
    assert tag.startswith('"')
    if first.headers["ETag"] == tag:
        assert first.content == second.content, "a strong tag is of the very bytes"
    length = len(second.content)
    for asked, begins, ends in (("0-0", 0, 1), ("100-1099", 100, 1_100), ("-77", length - 77, length)):
        part = server.get(first.url, headers={"Range": f"bytes={asked}", "If-Range": tag})
        assert (part.status_code, part.content) == (206, second.content[begins:ends])
        assert part.headers["Content-Range"] == f"bytes {begins}-{ends - 1}/{length}"
    assert server.get(first.url, headers={"If-None-Match": tag}).status_code == 304
    assert server.get(first.url, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert server.get(first.url, headers={"Range": f"bytes={length}-"}).status_code == 416
    head = server.request("HEAD", first.url)
    assert (int(head.headers["Content-Length"]), head.content) == (length, b"")


SOUGHT = [{}, LAYOUT, LAYOUT | {"pauses": "skip"}, {"loudness": "-20"}, {"rate": "8000"}]


@pytest.mark.parametrize("query", SOUGHT, ids=str)
def test_a_wav_can_be_sought_in_before_it_was_ever_made(server, query):
    recording = pair(server, f"sought {query}")["id"]
    url = server.url(f"{API}/{recording}/stream")
    parts = []
    for begins in range(0, 131_072, 32_768):
        answer = server.get(url, params=query, headers={"Range": f"bytes={begins}-{begins + 32_767}"})
        if answer.status_code == 416:
            break
        assert answer.status_code == 206
        parts.append(answer.content)
    whole = server.stream(recording, **query)
    assert b"".join(parts) == whole[:131_072]


def test_what_was_made_goes_with_its_recording(server):
    recording = pair(server, "deleted")["id"]
    for form in LOSSY:
        server.stream(recording, format=form)
    made = [path for path in cached(server) if recording in str(path)]
    assert len(made) == len(LOSSY)
    assert server.request("DELETE", f"{API}/{recording}").status_code in (200, 202, 204)
    assert not [path for path in files(server.data_dir / "cache") if recording in str(path)]
    assert server.get(f"{API}/{recording}/stream", params={"format": "mp3"}).status_code == 404


def long_call(server, call: str, minutes: int) -> str:
    tone = judges.tone(440, 10.0) * (6 * minutes)
    voices = [Voice("caller", b""), Voice("agent", b"")]
    for voice in voices:
        voice.join(server, call)
        for at in range(0, len(tone), 65_536):
            voice.client.socket.send(tone[at : at + 65_536])
    for voice in voices:
        voice.client.stop()
    return server.completed(voices[0].client.recording_id, 60)["id"]


def cpu_seconds(server) -> float:
    spent = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("form", ["flac", "mp3", "ogg"])
def test_a_part_of_a_file_can_be_had_before_anyone_asked_for_all_of_it(server, form):
    recording = pair(server, f"a part of {form}")["id"]
    url, query = f"{API}/{recording}/stream", {"format": form} | LAYOUT
    whole_as_it_is_made = server.get(url, params=query, headers={"Range": "bytes=0-"})
    assert whole_as_it_is_made.status_code == 200 and "Content-Length" not in whole_as_it_is_made.headers
    for made in cached(server):
        made.unlink()
    parts = [server.get(url, params=query, headers={"Range": f"bytes={part}"}) for part in ("0-1", "1000-1999", "-10")]
    whole = server.get(url, params=query)
    assert [part.status_code for part in parts] == [206] * 3
    assert [part.content for part in parts] == [whole.content[:2], whole.content[1_000:2_000], whole.content[-10:]]
    assert parts[0].headers["Content-Range"] == f"bytes 0-1/{len(whole.content)}"
    assert {part.headers["ETag"] for part in parts} == {whole.headers["ETag"]}


def test_a_download_that_is_broken_off_ends_the_work(new_server):
    server = new_server("--renditions", "none").start()
    recording = long_call(server, "broken off", 6)
    with server.get(f"{API}/{recording}/stream", params={"format": "flac"} | LAYOUT, stream=True) as answer:
        next(answer.iter_content(1_024))
        assert [path.suffix for path in cached(server)] == [".part"]
    until("the half made file to go", lambda: not cached(server))
    before = cpu_seconds(server)
    time.sleep(0.5)
    assert cpu_seconds(server) - before < 0.2, "nobody works on it any more"


def test_who_asks_for_one_more_than_may_be_made_is_told_when_to_come_back(new_server):
    server = new_server("--renditions", "none", "--render-limit", "1").start()
    recording = long_call(server, "one too many", 6)
    url, asked = f"{API}/{recording}/stream", {"format": "flac"} | LAYOUT
    with server.get(url, params=asked, stream=True) as answer:
        next(answer.iter_content(1_024))
        assert "reeltime_renders 1\n" in server.get("/metrics").text
        refused = server.get(url, params=asked)
        assert refused.status_code == 503 and refused.headers["Retry-After"] == "5"
        assert "ask again" in refused.json()["detail"]
        assert "reeltime_renders_refused_total 1\n" in server.get("/metrics").text
        assert server.get(url, params={"participant": "agent"}).status_code == 200, "what is there is not made"
    whole = until("room", lambda: (got := server.get(url, params=asked)).status_code == 200 and got.content)
    assert whole[:4] == b"fLaC"
    until("the room to be given back", lambda: "reeltime_renders 0\n" in server.get("/metrics").text)


def test_who_takes_nothing_of_a_file_that_is_made_keeps_nobody_else_from_theirs(new_server):
    server = new_server("--renditions", "none", "--render-limit", "1").start()
    recording = long_call(server, "paused", 6)
    url, asked = f"{API}/{recording}/stream", {"format": "flac"} | LAYOUT
    with server.get(url, params=asked, stream=True) as paused:
        rest = paused.iter_content(1_024)
        first = next(rest)
        other = until("room", lambda: (got := server.get(url, params=asked)).status_code == 200 and got.content, 30)
        assert first + b"".join(rest) == other


def test_what_is_kept_fits_its_budget_and_the_oldest_goes_first(new_server):
    server = new_server("--cache-budget", "300KiB").start()
    recordings = [pair(server, f"budget {number}")["id"] for number in range(4)]
    for recording in recordings:
        # 126 KiB each.
        server.stream(recording, **LAYOUT)
        assert sum(path.stat().st_size for path in cached(server)) <= 300 * 1_024
        time.sleep(0.02)
    kept = {path.parent.name for path in cached(server)}
    assert kept == set(recordings[2:])
    assert len(server.stream(recordings[0], **LAYOUT)) > 125_000, "made anew"


def test_what_is_larger_than_the_budget_is_served_and_not_kept(new_server):
    server = new_server("--cache-budget", "100KiB").start()
    recording = pair(server, "too large")["id"]
    first, second = (server.stream(recording, **LAYOUT) for _ in range(2))
    assert first == second and not cached(server)
    assert renditions(server, recording) == [("wav", "mono")]


def without_cache(server) -> Path:
    """Where the folder of files made on demand would be."""
    cache = server.data_dir / "cache"
    if cache.exists():
        cache.rmdir()
    return cache


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", f"size=1m,uid={os.getuid()},mode=0700", "tmpfs", str(disk))
    yield disk
    as_root("umount", "--lazy", str(disk))


def test_a_cache_folder_that_cannot_be_written_costs_nothing_but_time(new_server, tmp_path):
    server = new_server().start()
    without_cache(server).write_text("in the way")
    recording = pair(server, "no cache")["id"]
    for form in FORMATS:
        for _ in range(2):
            heard = play(server.stream(recording, format=form, **LAYOUT), tmp_path, form)
            assert heard.power(440, 0.6, 1.4, 0) == pytest.approx(0.09, rel=0.2)
    assert server.recording(recording)["state"] == "complete"


def test_a_disk_that_fills_while_a_file_is_made_costs_nothing_but_the_keeping(new_server, tiny_disk):
    # With a reserve it would not even try.
    server = new_server("--reserve", "0").start()
    without_cache(server).symlink_to(tiny_disk)
    recording = long_call(server, "small cache", 1)
    assert renditions(server, recording) == [], "left out, since it keeps no recording from being published"
    content = server.stream(recording, layout="stereo")
    assert len(content) > 2_000_000
    assert judges.ffprobe(content)["channels"] == 2
    assert not [path for path in files(tiny_disk) if path.suffix != ".dat"]
    assert server.stream(recording, layout="stereo") == content


BAD = [
    ({"bitrate": "1"}, "mp3", 422),
    ({"bitrate": "99999999k"}, "ogg", 422),
    ({"bitrate": "4294967295k"}, "ogg", 422),
    ({"bitrate": "-64k"}, "mp4", 422),
    ({"bitrate": "nan"}, "webm", 422),
    ({"rate": "0"}, "wav", 422),
    ({"rate": "1"}, "wav", 422),
    ({"rate": "4294967296"}, "wav", 422),
    ({"rate": "1000000"}, "flac", 422),
    ({"rate": "11111"}, "mp3", 406),
    ({"rate": "44100"}, "ogg", 406),
    ({"loudness": "nan"}, "wav", 422),
    ({"loudness": "inf"}, "wav", 422),
    ({"loudness": "0"}, "wav", 422),
    ({"loudness": "-1000"}, "wav", 422),
    ({"loudness": "loud"}, "wav", 422),
    ({"layout": "quadraphonic"}, "wav", 422),
    ({"pauses": "shout"}, "wav", 422),
    ({"participant": "nobody"}, "mp3", 422),
    ({"participant": ""}, "mp3", 422),
    ({"track": "../../etc/passwd"}, "wav", 422),
    ({"follow": "maybe"}, "wav", 422),
    ({}, "tape", 406),
    ({}, "", 406),
]


@pytest.mark.parametrize(("query", "form", "status"), BAD, ids=str)
@pytest.mark.parametrize("state", ["live", "complete"])
def test_what_cannot_be_made_is_said_in_a_sentence(server, twice, query, form, status, state):
    answer = server.get(f"{API}/{twice[state]}/stream", params={"format": form} | query)
    assert answer.status_code == status, answer.text[:300]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 10
    assert server.get("/healthz").status_code == 200


@pytest.fixture(scope="module")
def twice(server):
    """A call that is complete, and one that goes on."""
    done = pair(server, "bad input")["id"]
    voices = [Voice("caller", phrase(440)), Voice("agent", phrase(1_000))]
    yield {"complete": done, "live": begin(server, "bad input, live", *voices)}
    for voice in voices:
        voice.client.close()


@pytest.mark.parametrize("form", ["ogg", "mp3", "webm", "mp4", "flac"])
def test_more_channels_than_a_format_holds_are_refused(server, form):
    voices = [Voice(f"p{number}", indexed_pcm(f"{form} {number}", 800)) for number in range(9)]
    recording = record(server, f"nine {form}", *voices)["id"]
    answer = server.get(f"{API}/{recording}/stream", params={"format": form, "layout": "tracks"})
    assert answer.status_code in (406, 422) and "channels" in answer.json()["detail"]
    called = {"ogg": "Ogg", "webm": "WebM"}.get(form, form.upper())
    assert answer.json()["detail"].startswith(f"{called} holds 1 to "), answer.text
    for layout in ("mono", "stereo"):
        assert len(server.stream(recording, format=form, layout=layout)) > 500


def test_a_recording_of_nothing_is_no_recording_in_any_format(server):
    client = Ingest(server, call="nothing", participant="mute")
    recording = client.recording_id
    for form in FORMATS:
        answer = server.get(f"{API}/{recording}/stream", params={"format": form})
        assert answer.status_code in (200, 409), form
    client.stop()
    until("it to be gone", lambda: server.get(f"{API}/{recording}").status_code == 404)
    assert server.get(f"{API}/{recording}/stream", params={"format": "mp3"}).status_code == 404


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("length", [1, 2, 319])
def test_a_recording_of_next_to_nothing_is_a_file(server, tmp_path, form, length):
    pcm = indexed_pcm("short", length)
    recording = record(server, f"short {form} {length}", Voice("a", pcm))["id"]
    for _ in range(2):
        content = server.stream(recording, format=form, layout="stereo")
        heard = play(content, tmp_path, form)
        expected = length * (heard.rate // 16_000)
        assert len(heard) == expected if form != "mp4" else expected <= len(heard) <= expected + 2_048


def lame() -> str:
    """The library, as the loader finds it."""
    told = judges.run("ldconfig", "-p").decode()
    found = re.search(r"libmp3lame\.so\.0 .*=> (\S+)", told)
    assert found, "libmp3lame0 is not installed"
    return os.path.realpath(found[1])


def test_without_lame_mp3_is_refused_with_the_package_and_the_rest_works(new_server, tmp_path):
    hide = 'mount --bind /dev/null "$0" && exec "$@"'
    server = new_server(
        prefix=("unshare", "--map-root-user", "--mount", "--fork", "sh", "-c", hide, lame()),
        REELTIME_RENDITIONS="mp3:stereo,wav:mono",
    ).start()
    recording = pair(server, "no lame")["id"]
    assert renditions(server, recording) == [("wav", "mono")], "what cannot be made is left out"
    answer = server.get(f"{API}/{recording}/stream", params={"format": "mp3"})
    assert answer.status_code == 501 and "libmp3lame0" in answer.json()["detail"]
    for form in FORMATS:
        if form != "mp3":
            heard = play(server.stream(recording, format=form, **LAYOUT), tmp_path, form)
            assert heard.power(440, 0.6, 1.4, 0) == pytest.approx(0.09, rel=0.2)


def test_many_ask_for_the_same_file_at_once(server):
    recording = pair(server, "many at once")["id"]
    got: list[bytes] = []

    def ask() -> None:
        got.append(server.stream(recording, format="ogg", layout="stereo"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8 and len(set(got)) == 1
    assert len([path for path in cached(server) if recording in str(path)]) == 1
    assert not [path for path in cached(server) if path.suffix == ".part"]
