"""Recordings in a real S3: what is written there, what other people's client reads, and what happens when it goes away."""

import http.server
import json
import threading

import pytest
from harness.clients import Ingest
from harness.judges import wave_file
from harness.oracle import compare, indexed_pcm
from harness.s3 import S3, free_port
from harness.server import run_reeltime, until


def recorded(server, pcm: bytes, **query) -> str:
    """Sent and stopped; the recording's id once it is complete."""
    client = Ingest(server, **query)
    client.send(pcm)
    client.stop()
    server.completed(client.recording_id, seconds=60)
    return client.recording_id


def sounds(s3: S3) -> list[str]:
    return [key for key in s3.objects("rec/recordings/") if key.endswith(".wav")]


def check(tmp_path, **settings: str) -> tuple[int, dict]:
    """`reeltime store check`: its exit status and its document."""
    done = run_reeltime("store", "check", "--json", cwd=tmp_path, seconds=60, **settings)
    secret = settings.get("AWS_SECRET_ACCESS_KEY")
    assert not secret or secret not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def test_what_another_client_reads_is_what_the_server_streams(new_server, s3):
    server = new_server(**s3.settings("rec")).start()
    pcm = indexed_pcm("in the bucket", 48_000)
    recording = recorded(server, pcm)
    [key] = sounds(s3)
    stored = s3.read(key)
    assert wave_file(stored)[1] == pcm
    assert server.stream(recording) == stored
    assert s3.client().head_object(Bucket=s3.bucket, Key=key)["ContentType"] == "audio/wav"
    part = server.get(f"/api/v1/recordings/{recording}/stream", headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, stored[1_000:2_000])


def test_a_long_recording_is_one_object_made_of_parts(new_server, s3):
    server = new_server(**s3.settings("rec")).start()
    # 12 MiB: two parts and a tail.
    pcm = indexed_pcm("long", 6 << 20)
    client = Ingest(server)
    client.send(pcm, 65_536)
    client.stop()
    server.completed(client.recording_id, seconds=120)
    [key] = sounds(s3)
    verdict = compare(wave_file(s3.read(key))[1], pcm)
    assert verdict.intact, verdict
    assert s3.uploads() == []


def test_a_deleted_recording_leaves_the_bucket(new_server, s3):
    server = new_server(**s3.settings("rec")).start()
    recording = recorded(server, indexed_pcm("deleted", 16_000))
    assert sounds(s3)
    assert server.request("DELETE", f"/api/v1/recordings/{recording}").status_code < 300
    until("an empty bucket", lambda: not s3.objects("rec/recordings/"))


@pytest.mark.parametrize("when", ["during", "after"])
def test_a_store_that_was_killed_gets_the_recording_once(new_server, s3, when):
    server = new_server(**s3.settings("rec")).start()
    pcm = indexed_pcm(f"killed {when}", 64_000)
    client = Ingest(server, ack="disk")
    client.send(pcm[:64_000])
    client.until_acked(16_000)
    s3.kill()
    client.send(pcm[64_000:])
    if when == "during":
        s3.start()
    assert client.stop() == 64_000
    if when == "after":
        s3.start()
    server.completed(client.recording_id, seconds=120)
    [key] = sounds(s3)
    assert compare(wave_file(s3.read(key))[1], pcm).intact
    assert s3.uploads() == []


def test_a_store_that_hangs_holds_up_no_call(new_server, s3):
    server = new_server(**s3.settings("rec")).start()
    s3.suspend()
    pcm = indexed_pcm("hangs", 32_000)
    client = Ingest(server, ack="disk")
    client.send(pcm)
    client.until_acked(32_000)
    assert client.stop() == 32_000
    assert server.recording(client.recording_id)["state"] != "complete"
    s3.resume()
    server.completed(client.recording_id, seconds=120)
    [key] = sounds(s3)
    assert compare(wave_file(s3.read(key))[1], pcm).intact


def test_a_store_that_hangs_is_told_before_a_request_is_given_up(new_server, s3):
    server = new_server(**s3.settings("rec")).start()
    client = Ingest(server, ack="disk")
    client.send(indexed_pcm("heard", 16_000))
    until("it to be shipped", lambda: server.metric("reeltime_shipped_bytes_total") >= 32_000)
    s3.suspend()
    client.send(indexed_pcm("waits", 16_000))
    client.until_acked(32_000)
    # Half of what a request may take.
    until("the silence to be told", lambda: server.metric("reeltime_store_up") == 0, seconds=15)
    assert server.metric("reeltime_ship_lag_seconds") > 4
    health = server.get("/api/v1/store").json()["health"]
    assert (health["up"], health["failures"]) == (False, 0) and health["silent_seconds"] > 4
    shown = run_reeltime("store", "status", "--to", server.url(""), cwd=server.home).stdout
    assert "has not answered for" in shown, shown
    s3.resume()
    until("an answer", lambda: server.metric("reeltime_store_up") == 1, seconds=30)
    until("all to be shipped", lambda: server.metric("reeltime_ship_lag_seconds") == 0, seconds=30)
    client.stop()


def test_a_server_starts_while_its_store_is_away(new_server, s3):
    s3.kill()
    server = new_server(**s3.settings("rec")).start()
    client = Ingest(server, ack="disk")
    pcm = indexed_pcm("away", 16_000)
    client.send(pcm)
    client.until_acked(16_000)
    s3.start()
    client.stop()
    server.completed(client.recording_id, seconds=120)
    assert wave_file(s3.read(sounds(s3)[0]))[1] == pcm


def test_a_good_store_is_found_good_and_left_empty(s3, tmp_path):
    status, found = check(tmp_path, **s3.settings("rec"))
    assert (status, found["ok"], found["store"]) == (0, True, "s3://recordings/rec")
    names = ["write", "read", "range", "list", "overwrite", "parts", "abort", "signed address", "conditions", "delete"]
    limited = [] if s3.honours_conditions else ["conditions"]
    expected = [(name, "limited" if name in limited else "passed") for name in names]
    assert [(step["name"], step["outcome"]) for step in found["steps"]] == expected
    assert (s3.objects(), s3.uploads()) == ({}, [])


def test_a_folder_can_be_checked_as_well(tmp_path):
    status, found = check(tmp_path)
    assert (status, found["ok"]) == (0, True)
    assert {step["name"]: step["outcome"] for step in found["steps"]}["signed address"] == "skipped"


def test_each_thing_that_is_wrong_is_named_with_what_to_do(s3, tmp_path):
    nobody = f"http://127.0.0.1:{free_port()}"
    for wrong, hint in [
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "correct AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": "another-secret"}, "correct AWS_SECRET_ACCESS_KEY"),
        ({"REELTIME_STORE_URL": "s3://missing/rec"}, "there is no bucket missing: create it"),
        ({"AWS_REGION": "eu-west-1"}, "set AWS_REGION"),
        ({"AWS_ENDPOINT_URL_S3": nobody}, f"{nobody} cannot be reached"),
        ({"AWS_ENDPOINT_URL_S3": nobody}, "look at s3_endpoint"),
        ({"AWS_ENDPOINT_URL_S3": "http://nobody.invalid:900"}, "http://nobody.invalid:900 cannot be reached"),
        ({"AWS_ENDPOINT_URL_S3": s3.endpoint.replace("http", "https")}, "write http:// into s3_endpoint"),
    ]:
        status, found = check(tmp_path, **s3.settings("rec", **wrong))
        assert (status, found["ok"]) == (1, False), wrong
        [step] = found["steps"]
        assert (step["name"], step["outcome"]) == ("write", "failed")
        assert hint in step["why"], (wrong, step)
        assert step["follows"].startswith("recordings stay in the spool")


def test_a_bucket_before_an_ip_address_is_a_setting_to_correct(s3, tmp_path):
    settings = s3.settings("rec", REELTIME_S3_PATH_STYLE="false")
    for command in (["store", "check"], ["serve"], ["config"]):
        done = run_reeltime(*command, cwd=tmp_path, seconds=60, **settings)
        assert done.returncode == 2, (command, done)
        assert "environment AWS_ENDPOINT_URL_S3" in done.stderr and "s3_path_style=true" in done.stderr, done.stderr


def test_a_key_that_cannot_encrypt_is_a_setting_to_correct(s3, tmp_path):
    key = {"REELTIME_S3_ENCRYPTION": "sse-c", "REELTIME_S3_ENCRYPTION_KEY": "canary-5f0c"}
    for command in (["store", "check"], ["serve"], ["config"]):
        done = run_reeltime(*command, cwd=tmp_path, seconds=60, **s3.settings("rec", **key))
        assert done.returncode == 2, (command, done)
        assert "REELTIME_S3_ENCRYPTION_KEY" in done.stderr and "32 bytes in base64" in done.stderr, done.stderr
        assert "canary-5f0c" not in done.stderr


class Welcome(http.server.BaseHTTPRequestHandler):
    """A website that greets whoever asks for whatever."""

    def do_GET(self):
        page = b"<!doctype html><title>Welcome</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else page)

    do_HEAD = do_PUT = do_GET

    def log_message(self, *_):
        pass


def test_an_address_of_a_website_is_told_from_a_store(s3, tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Welcome) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        status, found = check(tmp_path, **s3.settings("rec", AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{site.server_port}"))
        site.shutdown()
    assert status == 1
    assert "a web page and no S3" in found["steps"][0]["why"]


def test_a_policy_without_delete_is_told_with_what_follows(s3, tmp_path):
    """An uploader who may put, get and list, and nothing else."""
    user = s3.user("uploader", "not-a-secret-either", "s3:PutObject", "s3:GetObject", "s3:ListBucket")
    status, found = check(tmp_path, **s3.settings("rec", **user))
    steps = {step["name"]: step for step in found["steps"]}
    assert (status, found["ok"]) == (0, True), found
    assert [name for name, step in steps.items() if step["outcome"] == "limited"] == ["abort", "delete"]
    assert "allow s3:AbortMultipartUpload" in steps["abort"]["why"]
    assert "allow s3:DeleteObject" in steps["delete"]["why"]
    assert "retention" in steps["delete"]["follows"]
