"""The recordings API: lists, details, streams with Range, signed URLs, deletion, problem details, and who is let in."""

import json
import re
import uuid
from html.parser import HTMLParser
from urllib.parse import parse_qs, parse_qsl, urlencode, urljoin, urlparse, urlsplit

import pytest
from harness.clients import Ingest
from harness.judges import run, wave_file
from harness.oracle import indexed_pcm
from harness.server import of_tracks, on_disk, until
from openapi_spec_validator import validate
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

API = "/api/v1/recordings"


def record(server, name: str, samples: int = 8_000, **query) -> str:
    client = Ingest(server, **query)
    client.send(indexed_pcm(name, samples))
    client.stop()
    server.completed(client.recording_id)
    return client.recording_id


@pytest.fixture(scope="module")
def finished(server) -> str:
    """A complete recording of two seconds."""
    return record(server, "finished", 32_000, call="finished call", participant="ada")


@pytest.fixture(scope="module")
def content(server, finished) -> bytes:
    return server.stream(finished)


def is_problem(answer, status: int) -> bool:
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["status"] == status and problem["title"] and problem["detail"] and problem["type"]
    return True


def test_the_list_has_the_promised_shape(server, finished):
    page = server.get(f"{API}/").json()
    assert page["page"] == 1 and page["page_size"] == 20 and page["total"] >= 1
    item = next(each for each in server.recordings(page_size=100, call_id="finished call") if each["id"] == finished)
    assert item["call_id"] == "finished call"
    assert item["duration_seconds"] == pytest.approx(2.0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", item["created_at"])


def test_the_list_is_paged_newest_first(server):
    made = [record(server, f"page {number}", 320, call="paged") for number in range(5)]
    pages = [
        server.get(f"{API}/", params={"call_id": "paged", "page": page, "page_size": 2}).json() for page in (1, 2, 3, 4)
    ]
    assert [item["id"] for page in pages for item in page["items"]] == made[::-1]
    assert [len(page["items"]) for page in pages] == [2, 2, 1, 0]
    assert {page["total"] for page in pages} == {5}
    assert [page["page"] for page in pages] == [1, 2, 3, 4]


def test_the_list_can_be_asked_for_one_call_and_one_state(server, finished):
    assert [item["id"] for item in server.recordings(call_id="finished call")] == [finished]
    assert server.recordings(call_id="nobody's call") == []
    live = Ingest(server, call="live call")
    live.send(indexed_pcm("live call", 320))
    assert server.recordings(call_id="live call", state="complete") == []
    live.stop()
    server.completed(live.recording_id)
    assert len(server.recordings(call_id="live call", state="complete")) == 1


def test_paths_work_with_and_without_a_slash_at_the_end(server, finished):
    for path in (API, f"{API}/{finished}", f"{API}/{finished}/url"):
        answers = [server.get(each, allow_redirects=False) for each in (path, f"{path}/")]
        assert [answer.status_code for answer in answers] == [200, 200], path


@pytest.mark.parametrize(
    "query", [{"page": 0}, {"page": -1}, {"page": "x"}, {"page_size": 0}, {"page_size": 101}, {"state": "odd"}], ids=str
)
def test_a_wrong_query_is_a_problem(server, query):
    answer = server.get(f"{API}/", params=query)
    assert answer.status_code in (400, 422) and is_problem(answer, answer.status_code)
    assert next(iter(query)) in answer.json()["detail"]


def test_the_details_name_participants_tracks_gaps_pauses_and_marks(server, finished):
    recording = server.recording(finished)
    assert recording["id"] == finished and recording["state"] in ("complete", "completed")
    assert recording["participants"] == ["ada"]
    assert len(recording["tracks"]) == 1
    assert of_tracks(recording, "gaps") == of_tracks(recording, "pauses") == of_tracks(recording, "marks") == []


def test_the_manifest_is_versioned_json(server, finished):
    manifest = server.get(f"{API}/{finished}/manifest").json()
    assert "version" in manifest and finished in str(manifest)


def test_the_stream_is_made_for_an_audio_player(server, finished, content):
    answer = server.get(f"{API}/{finished}/stream")
    assert answer.headers["Content-Type"] in ("audio/wav", "audio/x-wav")
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Disposition"].replace('"', "") == f"inline; filename=recording_{finished}.wav"
    assert int(answer.headers["Content-Length"]) == len(content)
    assert wave_file(content)[1] == indexed_pcm("finished", 32_000)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-43", 0, 43),
        ("bytes=1001-2000", 1_001, 2_000),
        ("bytes=100-", 100, None),
        ("bytes=-1", -1, None),
        ("bytes=-1000", -1_000, None),
        ("bytes=0-99999999", 0, None),
        ("bytes=-99999999", 0, None),
        ("BYTES=5-9", 5, 9),
    ],
)
def test_a_range_is_exactly_those_bytes(server, finished, content, asked, first, last):
    total = len(content)
    start = first if first >= 0 else total + first
    end = last if last is not None else total - 1
    answer = server.get(f"{API}/{finished}/stream", headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{total}"
    assert answer.content == content[start : end + 1]
    assert int(answer.headers["Content-Length"]) == len(answer.content)


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=99999999-100000000", "bytes=-0"])
def test_a_range_past_the_end_is_416(server, finished, content, asked):
    answer = server.get(f"{API}/{finished}/stream", headers={"Range": asked})
    assert is_problem(answer, 416)
    assert answer.headers["Content-Range"] == f"bytes */{len(content)}"


@pytest.mark.parametrize(
    "asked", ["bytes=9-5", "bytes=", "bytes=a-b", "lines=0-5", "bytes=--5", "bytes=1-2-3", "bytes=" + "9" * 40 + "-"]
)
def test_a_range_that_is_none_never_fails(server, finished, content, asked):
    answer = server.get(f"{API}/{finished}/stream", headers={"Range": asked})
    assert answer.status_code in (200, 416)
    if answer.status_code == 200:
        assert answer.content == content


def test_pieces_by_range_make_the_whole(server, finished, content):
    step = 7_919
    pieces = [
        server.get(f"{API}/{finished}/stream", headers={"Range": f"bytes={at}-{at + step - 1}"}).content
        for at in range(0, len(content), step)
    ]
    assert b"".join(pieces) == content


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=10-19"}, {"Range": "bytes=99999999-"}], ids=str)
def test_head_says_what_get_says_without_a_body(server, finished, headers):
    path = f"{API}/{finished}/stream"
    got, head = server.get(path, headers=headers), server.request("HEAD", path, headers=headers)
    assert head.status_code == got.status_code and head.content == b""
    for name in ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Content-Disposition"):
        assert head.headers.get(name) == got.headers.get(name), name


def test_a_live_recording_answers_ranges_without_promising_a_length(server):
    pcm = indexed_pcm("live range", 32_000)
    client = Ingest(server, ack="disk")
    client.send(pcm)
    client.until_acked(32_000)
    path = f"{API}/{client.recording_id}/stream"
    whole = server.get(path)
    assert not whole.headers.get("ETag", 'W/"').startswith('"'), "a strong ETag on something that still grows"
    part = server.get(path, headers={"Range": "bytes=100-299"})
    assert (part.status_code, part.headers["Content-Range"]) == (206, "bytes 100-299/*")
    assert part.content == whole.content[100:300]
    assert server.get(path, headers={"Range": "bytes=99999999-"}).status_code == 416
    client.stop()


@pytest.mark.parametrize("query", [{"format": "tape"}, {"layout": "quadraphonic"}, {"participant": "nobody"}], ids=str)
def test_a_stream_that_cannot_be_made_is_a_problem(server, finished, query):
    answer = server.get(f"{API}/{finished}/stream", params=query)
    assert answer.status_code in (400, 404, 406, 422) and is_problem(answer, answer.status_code)


@pytest.mark.parametrize(("named", "mime"), [("WAV", "wav"), ("opus", "ogg"), ("M4a", "mp4")])
def test_a_format_is_known_in_any_case_and_by_other_endings_of_its_files(server, finished, named, mime):
    answer = server.get(f"{API}/{finished}/stream", params={"format": named})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, f"audio/{mime}"), answer.text[:300]


def signed(server, recording_id: str) -> str:
    answer = server.get(f"{API}/{recording_id}/url")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["recording_id"] == recording_id and told["expires_in"] == 3_600 and told["mime_type"] == "audio/wav"
    return urljoin(server.url("/"), told["url"])


def test_a_signed_link_opens_all_that_was_asked_for(server, finished):
    asked = {"format": "flac", "layout": "stereo", "rate": "24000", "pauses": "skip", "loudness": "-20"}
    answer = server.get(f"{API}/{finished}/url", params=asked | {"expires_in": 60})
    assert answer.status_code == 200, answer.text
    link = answer.json()["url"]
    query = {name: value[0] for name, value in parse_qs(urlparse(link).query).items()}
    assert asked.items() <= query.items() and "expires_in" not in query
    server.stream(finished, **asked)
    opened = server.get(urljoin(server.url("/"), link))
    assert opened.status_code == 200 and opened.content[:4] == b"fLaC"
    assert opened.content == server.stream(finished, **asked)


def test_two_tracks_of_one_participant_are_told_apart_by_their_ids(server):
    first, second = (indexed_pcm(name, 3_200) for name in ("first leg", "second leg"))
    clients = [Ingest(server, call="legs", participant="anna") for _ in range(2)]
    for client, pcm in zip(clients, (first, second), strict=True):
        client.send(pcm)
    for client in clients:
        client.stop()
    recording = clients[0].recording_id
    server.completed(recording)
    assert clients[1].recording_id == recording
    for client, pcm in zip(clients, (first, second), strict=True):
        assert wave_file(server.stream(recording, track=client.track_id))[1] == pcm
    both = server.stream(recording, participant="anna", layout="tracks")
    legs = [run("sox", "-D", "-t", "wav", "-", "-t", "raw", "-", "remix", leg, stdin=both) for leg in "12"]
    assert any(first in one and second in other for one, other in (legs, legs[::-1])), "in the order they began"
    answer = server.get(f"{API}/{recording}/stream?participant=anna&track={recording}")
    assert answer.status_code == 422 and clients[1].track_id in answer.json()["detail"]


def test_a_live_recording_without_a_sample_yet_is_an_empty_file(server):
    client = Ingest(server)
    assert wave_file(server.stream(client.recording_id))[1] == b""
    client.stop()


def test_a_signed_url_gives_the_recording(server, finished, content):
    url = signed(server, finished)
    assert server.get(url).content == content
    assert server.get(url, headers={"Range": "bytes=0-3"}).content == b"RIFF"


def test_a_signed_url_with_any_character_changed_is_refused(server, finished):
    url = urlsplit(signed(server, finished))
    query = parse_qsl(url.query)
    assert query
    for number, (name, value) in enumerate(query):
        for at, character in enumerate(value):
            changed = value[:at] + chr(ord(character) + 1) + value[at + 1 :]
            tampered = urlencode([*query[:number], (name, changed), *query[number + 1 :]])
            answer = server.get(url._replace(query=tampered).geturl())
            assert answer.status_code in (400, 401, 403), (answer.status_code, name, at)


def test_a_signed_url_does_not_open_another_recording_nor_take_more_words(server, finished):
    other = record(server, "other", 320)
    url = signed(server, finished)
    for tampered in (url.replace(finished, other), url + "&follow=1", url + "&participant=ada"):
        assert server.get(tampered).status_code in (401, 403), tampered


def test_a_signed_url_only_reads(server, finished):
    url = urlsplit(signed(server, finished))
    for method in ("DELETE", "POST", "PUT"):
        assert server.request(method, url.geturl()).status_code in (401, 403, 405)
    assert server.recording(finished)


def test_deleting_takes_it_away_and_may_be_said_twice(server):
    recording_id = record(server, "deleted", 320)
    for _ in range(2):
        answer = server.request("DELETE", f"{API}/{recording_id}")
        assert (answer.status_code, answer.content) == (204, b"")
    for path in ("", "/stream", "/url", "/manifest"):
        assert is_problem(server.get(f"{API}/{recording_id}{path}"), 404)
    assert recording_id not in str(server.get(f"{API}/", params={"page_size": 100}).json())


def test_a_deleted_recording_leaves_no_audio_on_disk(new_server):
    server = new_server().start()
    recording_id = record(server, "erased", 16_000)
    pcm = indexed_pcm("erased", 16_000)
    assert on_disk(server, pcm)
    server.request("DELETE", f"{API}/{recording_id}")
    until("the audio to be gone", lambda: not on_disk(server, pcm))


STRANGE_IDS = [
    str(uuid.UUID(int=7)),
    "1",
    "..",
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "..%5c..",
    "%00",
    "a%00b",
    "%E2%80%AE",
    "%FF%FE",
    "x" * 3_000,
    "00000000-0000-0000-0000-00000000000G",
]


@pytest.mark.parametrize("strange", STRANGE_IDS, ids=lambda each: each[:40])
@pytest.mark.parametrize("path", ["", "/stream", "/url", "/manifest"])
def test_an_unknown_id_is_not_found(server, strange, path):
    status, headers, body = server.raw("GET", f"{API}/{strange}{path}")
    assert (status, headers["content-type"]) == (404, "application/problem+json"), body
    assert json.loads(body)["detail"] == "Recording not found"


@pytest.mark.parametrize("strange", STRANGE_IDS, ids=lambda each: each[:40])
def test_deleting_an_unknown_id_changes_nothing(server, finished, strange):
    assert server.raw("DELETE", f"{API}/{strange}")[0] in (204, 404)
    assert server.recording(finished)


def test_an_unknown_path_and_a_wrong_method_are_problems(server, finished):
    assert is_problem(server.get("/api/v1/nothing"), 404)
    answer = server.request("PUT", f"{API}/{finished}")
    assert is_problem(answer, 405) and "GET" in answer.headers["Allow"]


def test_a_recording_can_be_paused_resumed_and_stopped_over_http(server):
    first, last = indexed_pcm("http first", 8_000), indexed_pcm("http last", 8_000)
    client = Ingest(server, ack="disk")
    client.send(first)
    client.until_acked(8_000)
    path = f"{API}/{client.recording_id}"
    assert server.request("POST", f"{path}/pause").ok
    client.send(indexed_pcm("http secret", 8_000))
    client.until_acked(16_000)
    assert server.request("POST", f"{path}/resume").ok
    client.send(last)
    client.until_acked(24_000)
    assert server.request("POST", f"{path}/stop").ok
    assert client.closed()[0] == 1000
    recording = server.completed(client.recording_id)
    assert len(of_tracks(recording, "pauses")) == 1
    assert wave_file(server.stream(client.recording_id))[1] == first + bytes(16_000) + last


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7400", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", ""]
)
def test_a_request_for_another_host_is_refused(server, host):
    for path in (f"{API}/", "/api/openapi.json", "/api/docs"):
        assert server.get(path, headers={"Host": host}).status_code in (400, 403, 421), path


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "localhost:{port}", "LOCALHOST"])
def test_a_request_for_this_machine_is_served(server, host):
    assert server.get(f"{API}/", headers={"Host": host.format(port=server.port)}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://localhost.evil.example", "null", "http://127.0.0.1:1"]
)
def test_a_page_of_another_origin_is_refused(server, finished, origin):
    headers = {"Origin": origin}
    for method, path in (
        ("GET", f"{API}/"),
        ("GET", f"{API}/{finished}/stream"),
        ("DELETE", f"{API}/{finished}"),
        ("POST", f"{API}/{finished}/stop"),
    ):
        assert server.request(method, path, headers=headers).status_code == 403, (method, path)
    for path in ("/v1/ingest/pcm", "/ws/transcribe"):
        with pytest.raises(InvalidStatus) as refused:
            connect(server.url(path, "ws"), additional_headers=headers, proxy=None)
        assert refused.value.response.status_code == 403


def test_a_page_of_the_same_origin_is_served(server):
    headers = {"Origin": server.url("").rstrip("/")}
    assert server.get(f"{API}/", headers=headers).status_code == 200
    Ingest(server, headers=headers).stop()


def test_alive_and_ready(server):
    assert server.get("/healthz").status_code == 200
    assert server.get("/readyz").status_code == 200


def test_metrics_are_prometheus_text_and_count(server):
    answer = server.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    for line in answer.text.splitlines():
        assert not line or line.startswith("#") or re.fullmatch(r"[a-zA-Z_:][\w:]*(\{.*\})? [-+\w.]+", line), line
    before = {line for line in answer.text.splitlines()}
    record(server, "counted", 16_000)
    assert {line for line in server.get("/metrics").text.splitlines()} != before


def test_every_byte_is_counted_at_each_step_and_no_step_is_ahead_of_the_one_before(server):
    def totals() -> list[float]:
        text = server.get("/metrics").text
        steps = ("received", "appended", "written", "synced")
        return [float(re.search(rf"^reeltime_{step}_bytes_total (\S+)$", text, re.M)[1]) for step in steps]

    before = totals()
    client = Ingest(server, ack="disk")
    for at in range(0, 64_000, 640):
        client.send(bytes(640))
        if at % 6_400 == 0:
            now = totals()
            assert now == sorted(now, reverse=True), now
    client.stop()
    assert [now - was for now, was in zip(totals(), before, strict=True)] == [64_000] * 4


def test_the_openapi_document_is_valid_and_names_the_api(server):
    document = server.get("/api/openapi.json").json()
    validate(document)
    paths = {path.rstrip("/") for path in document["paths"]}
    for path in (API, f"{API}/{{id}}", f"{API}/{{id}}/stream", f"{API}/{{id}}/url"):
        assert any(re.sub(r"\{\w+\}", "{id}", each) == path for each in paths), (path, sorted(paths))


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_docs_page_works_without_the_internet(server):
    page = server.get("/api/docs")
    assert page.status_code == 200 and "text/html" in page.headers["Content-Type"]
    links = Links()
    links.feed(page.text)
    assert links.found
    for link in links.found:
        assert not urlsplit(link).netloc, link
        asset = server.get(urljoin(page.url, link))
        assert asset.status_code == 200 and asset.content, link
        if "initializer" in link:
            assert "https://" not in asset.text
            assert "/api/openapi.json" in asset.text
