"""Traces: what a collector is told of a recording, and that nobody feels where there is none."""

import base64
import re
import uuid

import pytest
from harness.clients import Ingest
from harness.collector import CLIENT, ERROR, SERVER, Collector, attributes
from harness.judges import tone
from harness.server import run_reeltime, until

KEY = "a-key-that-is-nobodys-business"


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def traced(new_server, collector):
    """Makes servers that send what they trace at once."""

    def make(**settings):
        return new_server(OTEL_BSP_SCHEDULE_DELAY="50", **({"REELTIME_OTLP_ENDPOINT": collector.url} | settings))

    return make


def record(server, call: str, seconds: float = 1.0, **options) -> str:
    client = Ingest(server, call=call, participant="anna", **options)
    client.send(tone(500, seconds))
    client.stop()
    server.completed(client.recording_id)
    return client.recording_id


def test_one_trace_tells_a_recording_from_its_clients_call_to_the_store(traced, collector):
    server = traced(REELTIME_CALL_LINGER="0s").start()
    trace, caller = uuid.uuid4().hex, uuid.uuid4().hex[:16]
    recording_id = record(server, "traced", headers={"traceparent": f"00-{trace}-{caller}-01"})
    request = collector.span("GET /v1/ingest/pcm")
    recording = collector.span("recording", recording=recording_id)
    session = collector.span("session", recording=recording_id)
    publish = collector.span("publish", recording=recording_id)
    collector.span("store put", key=f"_reeltime/manifests/{recording_id}.json")
    stored = [span for span in collector.all() if span.name.startswith("store ")]
    assert {span.trace_id.hex() for span in (request, recording, session, publish, *stored)} == {trace}
    assert [request.parent_span_id.hex(), request.kind] == [caller, SERVER]
    assert [recording.parent_span_id, session.parent_span_id] == [request.span_id, recording.span_id]
    assert publish.parent_span_id == recording.span_id
    assert attributes(request)["http.response.status_code"] == 101
    said = attributes(session)
    assert (said["participant"], said["codec"], said["rate"], said["samples"]) == ("anna", "s16le", 16_000, 16_000)
    assert {span.name for span in stored} == {"store head", "store adopt", "store put"}
    assert all(span.parent_span_id == publish.span_id and span.kind == CLIENT for span in stored)
    assert all(recording_id in attributes(span)["key"] for span in stored)
    assert recording.end_time_unix_nano >= publish.end_time_unix_nano
    assert collector.services == {"reeltime"}


def test_requests_are_named_by_their_route_and_watchers_are_not_traced(traced, collector):
    server = traced().start()
    recording_id = record(server, "asked", call_linger="0s")
    assert server.get(f"/api/v1/recordings/{recording_id}/stream?format=mp3").status_code == 200
    assert server.get("/api/v1/recordings/nobody").status_code in (400, 404)
    assert [server.get(path).status_code for path in ("/healthz", "/metrics")] == [200, 200]
    asked = collector.span("GET /api/v1/recordings/{id}/stream")
    assert attributes(asked)["http.response.status_code"] == 200
    render = collector.span("render")
    assert (render.trace_id, render.parent_span_id) == (asked.trace_id, asked.span_id)
    unknown = collector.span("GET /api/v1/recordings/{id}", **{"url.path": "/api/v1/recordings/nobody"})
    assert unknown.status.code != ERROR
    paths = {attributes(span).get("url.path") for span in collector.all()}
    assert paths.isdisjoint({"/healthz", "/readyz", "/metrics"})


def test_no_secret_is_traced_and_the_collectors_token_goes_with_each_batch(traced, collector):
    server = traced(REELTIME_API_KEYS=KEY, REELTIME_OTLP_HEADERS="x-token=to%20you").start()
    bearer = {"Authorization": f"Bearer {KEY}"}
    client = Ingest(server, call="secret", participant="anna", headers=bearer)
    client.send(tone(500, 1))
    client.stop()
    address = server.get(f"/api/v1/recordings/{client.recording_id}/url", headers=bearer).json()["url"]
    assert server.get(address).status_code == 200
    collector.span("session")
    server.terminate()
    told = " ".join(str(span) for span in collector.all())
    (signature,) = re.findall(r"signature=([^&]+)", address)
    assert client.recording_id in told
    assert all(secret not in told for secret in (KEY, client.token, signature))
    assert collector.headers["x-token"] == "to you"
    shown = run_reeltime("config", cwd=server.home, REELTIME_OTLP_HEADERS="x-token=hush")
    assert "hush" not in shown.stdout and "[redacted]" in shown.stdout


def test_who_logs_in_at_the_collector_is_told_to_it_alone(traced, collector):
    endpoint = collector.url.replace("://", f"://anna:{KEY}@")
    server = traced(REELTIME_OTLP_ENDPOINT=endpoint, REELTIME_CALL_LINGER="0s").start()
    record(server, "logged in")
    collector.span("session")
    assert collector.headers["authorization"] == "Basic " + base64.b64encode(f"anna:{KEY}".encode()).decode()
    collector.close()
    record(server, "away")
    until("the word", lambda: "traces do not arrive" in server.log())
    server.terminate()
    assert KEY not in server.log()
    shown = run_reeltime("config", cwd=server.home, REELTIME_OTLP_ENDPOINT=endpoint)
    assert KEY not in shown.stdout and "[redacted]@127.0.0.1" in shown.stdout


def test_a_publication_that_fails_is_an_error_in_its_trace(traced, collector):
    nowhere = {"STORE_URL": "s3://nobody/there", "S3_ENDPOINT": "http://127.0.0.1:9"}
    keys = {"S3_ACCESS_KEY_ID": "a", "S3_SECRET_ACCESS_KEY": "b"}
    settings = nowhere | keys | {"SHIP": "never", "CALL_LINGER": "0s"}
    server = traced(**{f"REELTIME_{name}": value for name, value in settings.items()}).start()
    client = Ingest(server, call="away", participant="anna")
    client.send(tone(500, 1))
    client.stop()
    publish = collector.span("publish", recording=client.recording_id)
    assert publish.status.code == ERROR and attributes(publish)["error"]


@pytest.mark.parametrize("away", ["refuses", "is not there"])
def test_a_collector_that_is_away_is_said_once_and_costs_nothing(traced, collector, away):
    if away == "refuses":
        collector.status = 503
    else:
        collector.close()
    server = traced(REELTIME_CALL_LINGER="0s").start()
    for call in range(8):
        record(server, f"call-{call}")
    until("the word", lambda: "traces do not arrive" in server.log())
    assert server.log().count("traces do not arrive") == 1
    if away == "refuses":
        collector.status = 200
        server.get("/api/v1/recordings/")
        until("the word", lambda: "traces arrive again" in server.log(), seconds=30)
    assert server.terminate() == 0
