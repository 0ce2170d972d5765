"""What files say besides their sound, as ffprobe reads it: who, when, and where the marks are."""

import json

import pytest
from harness.clients import Ingest
from harness.judges import run, tone

FORMATS = ("wav", "flac", "ogg", "mp3", "webm", "mp4")


@pytest.fixture(scope="module")
def marked(server) -> str:
    """Two seconds, a mark, two seconds of pause, a second, another mark, and a second."""
    client = Ingest(server, call="support 4711", participant="caller", clock="samples")
    client.send(tone(500, 2))
    client.tell("mark", name="order number")
    client.tell("pause", reason="card number")
    client.send(bytes(64_000))
    client.tell("resume")
    client.send(tone(700, 1))
    client.tell("mark", name="thanks ✓")
    client.send(tone(900, 1))
    client.stop()
    server.completed(client.recording_id)
    return client.recording_id


def read(server, recording: str, tmp_path, form: str, **query) -> dict:
    path = tmp_path / f"made.{form}"
    path.write_bytes(server.stream(recording, format=form, layout="stereo", **query))
    return json.loads(run("ffprobe", "-v", "error", "-show_chapters", "-show_format", "-show_streams", "-of", "json", str(path)))


@pytest.mark.parametrize("form", FORMATS)
def test_marks_are_chapters_at_their_times(server, marked, tmp_path, form):
    chapters = read(server, marked, tmp_path, form)["chapters"]
    assert [each["tags"]["title"] for each in chapters] == ["order number", "thanks ✓"]
    assert [float(each["start_time"]) for each in chapters] == pytest.approx([2, 5], abs=0.01)


@pytest.mark.parametrize("form", FORMATS)
def test_where_pauses_are_left_out_marks_move_with_the_sound(server, marked, tmp_path, form):
    told = read(server, marked, tmp_path, form, pauses="skip")
    assert float(told["format"]["duration"]) == pytest.approx(4, abs=0.2)
    assert [float(each["start_time"]) for each in told["chapters"]] == pytest.approx([2, 3], abs=0.01)


@pytest.mark.parametrize("form", FORMATS)
def test_the_last_chapter_ends_with_the_sound(server, marked, tmp_path, form):
    last = read(server, marked, tmp_path, form)["chapters"][-1]
    assert float(last["end_time"]) == pytest.approx(6, abs=0.2)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_says_which_call_it_is_and_who_speaks(server, marked, tmp_path, form):
    told = read(server, marked, tmp_path, form)
    tags = {name.lower(): value for part in (told["format"], *told["streams"]) for name, value in part.get("tags", {}).items()}
    assert (tags["title"], tags["artist"]) == ("support 4711", "caller")
    assert marked in " ".join(tags.values())
