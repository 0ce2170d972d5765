"""A network between a server and its S3 that does as it is told: it answers errors, dawdles, cuts, or swallows answers.

Requests pass unchanged, with the Host that was signed: what the store sees was meant for this address.
"""

import asyncio
import random
import re
import threading
from collections import Counter

SLOW = 100 << 10
"""Bytes a second of each connection that is slow: a part takes longer than anybody waits for it."""
LAG = 0.5
"""Seconds by which a slow answer is late, before its first byte."""
CHUNK = 16 << 10
MIXED = ("pass", "pass", "500", "503", "half", "lost")
REASONS = {500: ("Internal Server Error", "InternalError"), 503: ("Service Unavailable", "SlowDown")}


class Network:
    """`mode`, which may change at any time, is one of

    pass    all goes through
    500     answered with that status, as S3 does, and the store hears nothing of it
    503     the same, some with Retry-After
    slow    bytes trickle both ways, and answers are late
    half    the request breaks off in the middle of its body, or the answer in its middle
    lost    the store does it; of its answer nothing arrives: the connection is reset, or silent until the mode changes
    mixed   each request meets another of these, or none
    """

    def __init__(self, store_port: int, seed: str):
        self.store_port = store_port
        self.chance = random.Random(seed)
        self.met: Counter[str] = Counter()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._mode = "pass"

    def start(self) -> "Network":
        self.thread.start()
        self._on_loop(self._listen())
        return self

    def stop(self) -> None:
        self._on_loop(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    endpoint = property(lambda self: f"http://127.0.0.1:{self.port}")
    mode = property(lambda self: self._mode)

    @mode.setter
    def mode(self, mode: str) -> None:
        self._on_loop(self._change(mode))

    def _on_loop(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def _listen(self) -> None:
        self.changed = asyncio.Event()
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self.server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _change(self, mode: str) -> None:
        self._mode = mode
        self.changed.set()
        self.changed = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request. Whatever breaks is reset."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                mode = self.chance.choice(MIXED) if self.mode == "mixed" else self.mode
                self.met[mode] += 1
                if mode.isdigit():
                    await reader.readexactly(length_of(head))
                    self._refuse(int(mode), head, writer)
                else:
                    await self._pass_on(mode, head, reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()

    def _refuse(self, status: int, head: bytes, writer: asyncio.StreamWriter) -> None:
        reason, code = REASONS[status]
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>Try again.</Message></Error>'
        later = "Retry-After: 1\r\n" if status == 503 and self.chance.random() < 0.5 else ""
        kind = f"Content-Type: application/xml\r\nContent-Length: {len(body)}"
        said = "" if head.startswith(b"HEAD ") else body
        writer.write(f"HTTP/1.1 {status} {reason}\r\n{later}{kind}\r\n\r\n{said}".encode())

    async def _pass_on(self, mode: str, head: bytes, reader, writer) -> None:
        """One request and its answer, over a connection of its own to the store."""
        first = self.chance.random() < 0.5
        store_reader, store_writer = await asyncio.open_connection("127.0.0.1", self.store_port)
        try:
            store_writer.write(head)
            length = length_of(head)
            if mode == "half" and first and length:
                await self._copy(reader, store_writer, length // 2)
                raise ConnectionResetError
            await self._copy(reader, store_writer, length)
            answer = await store_reader.readuntil(b"\r\n\r\n")
            if mode == "slow":
                await asyncio.sleep(LAG)
            if mode == "lost":
                if first and self.mode == "lost":
                    await self.changed.wait()
                raise ConnectionResetError
            length = 0 if head.startswith(b"HEAD ") else length_of(answer)
            if mode == "half":
                await self._copy_half(answer, store_reader, writer, length)
                raise ConnectionResetError
            writer.write(answer)
            await self._copy(store_reader, writer, length)
        finally:
            store_writer.transport.abort()

    async def _copy_half(self, answer: bytes, reader, writer, length: int) -> None:
        """Half of a body, or half of a head that has none."""
        writer.write(answer if length else answer[: len(answer) // 2])
        await self._copy(reader, writer, length // 2)

    async def _copy(self, reader, writer, length: int) -> None:
        while length > 0:
            chunk = await reader.read(min(CHUNK, length))
            if not chunk:
                raise ConnectionResetError
            writer.write(chunk)
            await writer.drain()
            length -= len(chunk)
            if self.mode == "slow":
                await asyncio.sleep(len(chunk) / SLOW)


def length_of(head: bytes) -> int:
    """Of the body behind it."""
    assert b"\r\ntransfer-encoding:" not in head.lower(), head
    found = re.search(rb"(?im)^content-length: *(\d+)", head)
    return int(found[1]) if found else 0
