"""Clients: Python's `websockets` driven by a test, and other people's programs that just send."""

import json
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

CLIENTS = Path(__file__).parents[1] / "clients"
FRAME = 640
"""Bytes of a frame: 20 ms at 16 kHz, s16le, mono."""


class Ingest:
    """One connection to `/v1/ingest/pcm`. `session` is the server's first message.

    `clock` is `samples` unless a test says otherwise (None: the server's default): tests send faster than real time.
    `first` goes out as a start message instead of the query.
    """

    def __init__(self, server, *, v1: bool = True, path: str = "/v1/ingest/pcm", headers=None, first=None, **query):
        query = {name: value for name, value in ({"clock": "samples"} | query).items() if value is not None}
        uri = server.url(path, "ws") + ("?" + urlencode(query) if query and first is None else "")
        opening = connect(
            uri,
            subprotocols=["reeltime.v1"] if v1 else None,
            additional_headers=headers,
            compression=None,
            proxy=None,
            max_size=None,
            open_timeout=10,
            close_timeout=5,
        )
        self.socket = ExitStack().enter_context(opening)
        self.acked = 0
        self.seen: list[dict] = []
        if first is not None:
            self.tell("start", **first)
        self.session = self.message("session")

    recording_id = property(lambda self: self.session["recording_id"])
    track_id = property(lambda self: self.session["track_id"])
    token = property(lambda self: self.session["resume_token"])
    resume_at = property(lambda self: self.session["resume_at"])

    def send(self, audio: bytes, frame: int = FRAME, pace: float = 0.0) -> None:
        """As binary messages of `frame` bytes, `pace` seconds apart."""
        for at in range(0, len(audio), frame):
            self.socket.send(audio[at : at + frame])
            if pace:
                time.sleep(pace)

    def tell(self, kind: str, **fields) -> None:
        """A text message."""
        self.socket.send(json.dumps({"type": kind, **fields}))

    def receive(self, seconds: float = 10.0) -> dict:
        """The next text message of the server."""
        message = json.loads(self.socket.recv(timeout=seconds))
        self.seen.append(message)
        if message["type"] == "ack":
            self.acked = message["samples"]
        return message

    def message(self, kind: str, seconds: float = 10.0) -> dict:
        """The next message of this type; others before it are kept in `seen`."""
        deadline = time.monotonic() + seconds
        while True:
            message = self.receive(max(0.0, deadline - time.monotonic()))
            if message["type"] == kind:
                return message

    def until_acked(self, samples: int, seconds: float = 10.0) -> None:
        """Read until the server has confirmed every sample before `samples`."""
        deadline = time.monotonic() + seconds
        while self.acked < samples:
            self.message("ack", max(0.0, deadline - time.monotonic()))

    def closed(self, seconds: float = 10.0) -> tuple[int | None, str]:
        """Read to the end: the server's close code and reason (None where the connection was cut)."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                self.receive(max(0.0, deadline - time.monotonic()))
        except ConnectionClosed as end:
            return (end.rcvd.code, end.rcvd.reason) if end.rcvd else (None, "")

    def stop(self) -> int:
        """Stop and see it sealed and closed; how many samples the server counted."""
        self.tell("stop")
        stopped = self.message("stopped")
        code, _ = self.closed()
        assert code == 1000, code
        return stopped["samples"]

    def close(self, code: int = 1000) -> None:
        self.socket.close(code)

    def cut(self) -> None:
        """Lose the socket: no close message, as when a network goes away."""
        self.socket.socket.shutdown(2)
        self.socket.socket.close()


def refused(
    server, *, messages=(), v1: bool = True, path: str = "/v1/ingest/pcm", **query
) -> tuple[dict, int | None, str]:
    """Connect, send these messages and be refused: the server's `error`, its close code and reason."""
    uri = server.url(path, "ws") + ("?" + urlencode(query) if query else "")
    subprotocols = ["reeltime.v1"] if v1 else None
    heard = []
    with connect(
        uri, subprotocols=subprotocols, compression=None, proxy=None, max_size=None, close_timeout=5
    ) as socket:
        try:
            for message in messages:
                socket.send(message)
            while True:
                heard.append(json.loads(socket.recv(timeout=10)))
        except ConnectionClosed as end:
            assert end.rcvd, "the connection was cut without a close message"
            errors = [message for message in heard if message["type"] == "error"]
            assert errors, heard
            return errors[0], end.rcvd.code, end.rcvd.reason


def node(server, path: str, audio: Path, *, stop: bool = False, subprotocol: str = "") -> dict:
    """Node's `ws` sends the file frame by frame; what the server said and how it closed."""
    command = [
        "node",
        "send.mjs",
        server.url(path, "ws"),
        str(audio),
        str(FRAME),
        "stop" if stop else "close",
        subprotocol,
    ]
    done = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def websocat(server, path: str, audio: bytes) -> list[dict]:
    """websocat pipes its input as binary messages and closes at the end; what the server said."""
    command = ["websocat", "--binary", "--no-line", "--buffer-size", str(FRAME), server.url(path, "ws")]
    done = subprocess.run(command, input=audio, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    decoder, text, messages = json.JSONDecoder(), done.stdout.decode(), []
    while text := text.lstrip():
        message, end = decoder.raw_decode(text)
        messages.append(message)
        text = text[end:]
    return messages


def transcribe(server, audio: bytes, frame: int = FRAME, path: str = "/ws/transcribe") -> str:
    """A client of the older kind, which knows nothing of this server: reads one message, sends, closes. Its session id."""
    with connect(server.url(path, "ws"), proxy=None, open_timeout=10) as socket:
        first = json.loads(socket.recv(timeout=10))
        assert first["type"] == "session"
        for at in range(0, len(audio), frame):
            socket.send(audio[at : at + frame])
    return first["session_id"]
