"""What a server on a network meets: each gets its clear error, and nothing that was recorded is lost."""

import os
import random
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from harness.clients import Ingest, refused
from harness.judges import wave_file
from harness.oracle import indexed_pcm
from harness.server import BINARY, clean_environment, run_reeltime, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

HANDSHAKE = (
    "GET /v1/ingest/pcm?clock=samples HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)


def raw_socket(server, more: str = "") -> tuple[socket.socket, bytes]:
    """A WebSocket without a library: the socket after the handshake, and the server's answer to it."""
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    raw.sendall(HANDSHAKE.format(more=more).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += raw.recv(4_096)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    return raw, answer


def read_to_end(raw: socket.socket) -> bytes:
    got = b""
    try:
        while piece := raw.recv(65_536):
            got += piece
    except ConnectionResetError:
        pass
    return got


def resident_kib(server) -> int:
    return int(
        next(
            line.split()[1]
            for line in Path(f"/proc/{server.pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )
    )


def still_records(server, name: str) -> None:
    """The server is as alive as before."""
    pcm = indexed_pcm(name, 3_200)
    client = Ingest(server)
    client.send(pcm)
    client.stop()
    server.completed(client.recording_id)
    assert wave_file(server.stream(client.recording_id))[1] == pcm


def test_a_frame_that_announces_a_gigabyte_is_refused_before_a_byte_of_it_is_kept(server):
    still_records(server, "before the gigabyte")
    before = resident_kib(server)
    raw, _ = raw_socket(server)
    raw.sendall(b"\x82\xff" + struct.pack(">Q", 1 << 30) + b"\0\0\0\0" + bytes(4_096))
    assert struct.pack(">H", 1009) in read_to_end(raw)
    assert resident_kib(server) - before < 8_192
    still_records(server, "after the gigabyte")


def test_a_message_in_endless_fragments_is_refused(server):
    before = resident_kib(server)
    raw, _ = raw_socket(server)
    fragment = b"\xfe" + struct.pack(">H", 65_000) + b"\0\0\0\0" + bytes(65_000)
    try:
        raw.sendall(b"\x02" + fragment)
        for _ in range(2_000):
            raw.sendall(b"\0" + fragment)
        pytest.fail("130 MB of one message were taken")
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert resident_kib(server) - before < 32_768
    still_records(server, "after the fragments")


def test_compression_is_not_negotiated(server):
    raw, answer = raw_socket(server, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
    raw.close()
    assert b"deflate" not in answer.lower()


def test_frames_that_break_the_protocol_close_that_connection_alone(server):
    pcm = indexed_pcm("neighbour", 16_000)
    neighbour = Ingest(server)
    neighbour.send(pcm[:16_000])
    chance = random.Random("broken frames")
    for _ in range(50):
        raw, _ = raw_socket(server)
        raw.sendall(chance.randbytes(200))
        raw.shutdown(socket.SHUT_WR)
        read_to_end(raw)
    neighbour.send(pcm[16_000:])
    assert neighbour.stop() == 16_000
    server.completed(neighbour.recording_id)
    assert wave_file(server.stream(neighbour.recording_id))[1] == pcm


TEXTS = [
    "",
    "{",
    "null",
    "[]",
    "0",
    '"stop"',
    "{}",
    '{"type":null}',
    '{"type":5}',
    '{"type":["stop"]}',
    '{"type":"mark"}',
    '{"type":"mark","name":7}',
    '{"type":"pause","reason":{}}',
    '{"type":"resume"}',
    '{"type":"STOP"}',
    "[" * 10_000,
    '{"type":"mark","name":"' + "x" * 30_000 + '"}',
    '{"type":"resume"}' * 2,
    "\0",
    "\u202e",
]


def test_no_text_ends_a_session(server):
    pcm = indexed_pcm("texts", 16_000)
    client = Ingest(server)
    client.send(pcm[:16_000])
    for text in TEXTS:
        client.socket.send(text)
    client.send(pcm[16_000:])
    assert client.stop() == 16_000
    server.completed(client.recording_id)
    assert wave_file(server.stream(client.recording_id))[1] == pcm


STRANGE_NAMES = [
    "..", "../../escaped", "/etc/escaped", "a/b", "C:\\escaped", "a\0b", "\u202egnp.exe", "\u200f", "~", "-rf", "CON", "x" * 200, "a b\nc",
]  # fmt: skip


@pytest.mark.parametrize("name", STRANGE_NAMES, ids=ascii)
def test_a_strange_name_never_becomes_a_path(server, name):
    pcm = indexed_pcm(f"strange {name!r}", 3_200)
    try:
        client = Ingest(server, call=name, participant=name)
    except ConnectionClosed:
        error, code, reason = refused(server, call=name, participant=name)
        assert code == 1008 and reason and "call" in error["message"]
        return
    client.send(pcm)
    client.stop()
    recording = server.completed(client.recording_id)
    assert recording["call_id"] == name
    assert recording["participants"] == [name]
    assert client.recording_id in [item["id"] for item in server.recordings(call_id=name)]
    assert wave_file(server.stream(client.recording_id))[1] == pcm
    outside = [path for path in server.home.parent.rglob("*escaped*") if server.data_dir not in path.parents]
    assert not outside and not Path("/etc/escaped").exists()


def test_names_that_differ_only_in_their_form_are_two_calls(server):
    composed, decomposed = Ingest(server, call="caf\u00e9"), Ingest(server, call="cafe\u0301")
    assert composed.recording_id != decomposed.recording_id
    composed.stop()
    decomposed.stop()


def test_a_name_that_is_too_long_is_refused(server):
    error, code, _ = refused(server, call="x" * 5_000)
    assert code == 1008 and "call" in error["message"]


def test_a_call_of_three_hundred_is_recorded_or_refused_by_name(server):
    voices = {}
    for number in range(300):
        client = Ingest(server, call="crowd", participant=f"p{number}")
        voices[client] = indexed_pcm(f"crowd {number}", 1_600)
        client.send(voices[client])
    for client in voices:
        assert client.stop() == 1_600
    (recording_id,) = {client.recording_id for client in voices}
    recording = server.completed(recording_id, 30)
    assert len(recording["tracks"]) == 300
    data = wave_file(server.stream(recording_id, participant="p299"))[1]
    assert data.endswith(indexed_pcm("crowd 299", 1_600)) or indexed_pcm("crowd 299", 1_600) in data


def test_requests_that_are_none_do_no_harm(server):
    chance = random.Random("junk")
    junk = [chance.randbytes(300) for _ in range(20)]
    junk += [
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000,
        b"GET / HTTP/1.1\r\nX: " + b"y" * 1_000_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    for each in junk:
        raw = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        try:
            raw.sendall(each)
            raw.shutdown(socket.SHUT_WR)
            read_to_end(raw)
        except (BrokenPipeError, ConnectionResetError, OSError):
            pass
        raw.close()
    still_records(server, "after junk")


def test_connections_that_say_nothing_are_closed_and_block_nobody(server):
    silent = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(500)]
    still_records(server, "among the silent")
    for raw in silent:
        raw.close()


def test_a_plain_request_to_the_websocket_is_a_problem(server):
    answer = server.get("/v1/ingest/pcm")
    assert answer.status_code in (400, 426)
    assert answer.headers["Content-Type"].startswith("application/problem+json")


def test_an_unknown_websocket_is_not_found(server):
    with pytest.raises(InvalidStatus) as none:
        connect(server.url("/v1/ingest/nothing", "ws"), proxy=None)
    assert none.value.response.status_code == 404


def clear_refusal(done: subprocess.CompletedProcess, status: tuple[int, ...], *words: str) -> None:
    """It exited with this status and one sentence on stderr that has these words and says what to do."""
    assert done.returncode in status, (done.returncode, done.stderr)
    assert "panicked" not in done.stderr and "RUST_BACKTRACE" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) <= 12, done.stderr


def serve(cwd: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess:
    return run_reeltime("serve", *arguments, cwd=cwd, **settings)


def test_a_data_folder_in_use_is_refused_and_its_owner_undisturbed(server, tmp_path):
    done = serve(tmp_path, "--listen", "127.0.0.1:0", "--data-dir", str(server.data_dir))
    clear_refusal(done, (1,), str(server.data_dir), "use")
    still_records(server, "owner of the folder")


def test_a_port_in_use_is_refused(server, tmp_path):
    done = serve(tmp_path, "--listen", f"127.0.0.1:{server.port}", "--data-dir", str(tmp_path / "data"))
    clear_refusal(done, (1,), str(server.port), "use")


def test_a_data_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "data").write_text("not a folder")
    clear_refusal(
        serve(tmp_path, "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data")), (1,), str(tmp_path / "data")
    )


def test_a_data_folder_without_permission_is_refused(tmp_path):
    """As a user who may not write there: root may write anywhere."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--data-dir", str(closed / "data")]
    becoming = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    done = subprocess.run(
        command, cwd="/", env=clean_environment(), capture_output=True, text=True, timeout=20, **becoming
    )
    clear_refusal(done, (1,), str(closed / "data"), "ermission")


@pytest.mark.parametrize(
    "config", ["listen = ", "\0\1\2", "[[[", 'listen = "127.0.0.1:0"\nlisten = "twice"'], ids=ascii
)
def test_a_corrupt_config_file_is_refused_by_its_name(tmp_path, config):
    (tmp_path / "reeltime.toml").write_text(config)
    clear_refusal(serve(tmp_path, "--data-dir", str(tmp_path / "data")), (1, 2), "reeltime.toml")


def test_a_config_file_with_a_wrong_key_or_value_names_it(tmp_path):
    (tmp_path / "reeltime.toml").write_text('liste = "127.0.0.1:0"\n')
    clear_refusal(serve(tmp_path), (1, 2), "liste")
    (tmp_path / "reeltime.toml").write_text('listen = "nowhere"\n')
    clear_refusal(serve(tmp_path), (1, 2), "nowhere")


def test_a_config_file_that_was_asked_for_and_is_missing_is_refused(tmp_path):
    clear_refusal(serve(tmp_path, "--config", "missing.toml"), (1, 2), "missing.toml")


@pytest.mark.parametrize("arguments", [["--listen"], ["--unheard-of"], ["--listen", "nowhere"]], ids=str)
def test_wrong_usage_exits_with_two(tmp_path, arguments):
    clear_refusal(serve(tmp_path, *arguments), (2,), arguments[0])


def test_a_wrong_environment_variable_is_named(tmp_path):
    clear_refusal(serve(tmp_path, REELTIME_LISTEN="nowhere"), (1, 2), "REELTIME_LISTEN")


def test_half_open_connections_are_closed_in_time(new_server):
    server = new_server(REELTIME_HEADER_TIMEOUT="1s").start()
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    raw.sendall(b"GET / HTTP/1.1\r\n")
    assert until("the server to give up", lambda: read_to_end(raw) or True, 10)
