"""The loops: SIGKILL, or SIGTERM, under a hundred live calls, again and again, counting what was lost.

Within the suite the machine is shared with other tests, so the bars in time have ten times the slack; the counts
(nothing acknowledged lost, nothing twice, nothing unreadable) stay as they are. `./scripts/test kill-loop COUNT` runs it alone.
"""

import asyncio
import contextlib
import json
import random
import time

from harness.clients import FRAME
from harness.judges import wave_file
from harness.oracle import compare, indexed_pcm
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

CALLS = 100
KILLS_A_CALL = 20
RATE = 16_000
MESSAGE = 2 * FRAME
LONGEST_ROUND = 2.0
"""Seconds of real time between two kills, at most."""

BARS = {"sent but not kept, s": 0.350, "ready again, s": 2.0}
EXIT_BAR = 5.0
"""Seconds from SIGTERM to the exit, at most."""
SLACK = 10


class Caller:
    """A client that speaks in real time, keeps what it sent, and resumes with its token."""

    def __init__(self, name: str, seconds: float):
        self.pcm = indexed_pcm(name, int(seconds * RATE))
        self.query = self.first = f"?ack=disk&clock=samples&call={name}"
        self.recording_id = ""
        self.sent = self.acked = 0
        self.not_kept = 0.0
        self.resumed = asyncio.Event()
        self.close_codes: list[int | None] = []

    @contextlib.asynccontextmanager
    async def session(self, url: str):
        """A connection, and where to go on. One killed before anything was written is unknown: it begins anew, which
        counts as all of it not kept."""
        async with self.connect(url) as socket:
            at = await self.resume(socket)
            if at is not None:
                yield socket, at
                return
        async with self.connect(url) as socket:
            yield socket, await self.resume(socket)

    def connect(self, url: str):
        return connect(url + self.query, subprotocols=["reeltime.v1"], compression=None, proxy=None)

    async def resume(self, socket) -> int | None:
        """The first message: where to go on. Nothing acknowledged may lie behind it."""
        session = json.loads(await socket.recv())
        if session.get("code") == "unknown_token" and self.query != self.first and self.acked == 0:
            self.not_kept = max(self.not_kept, self.sent / RATE)
            self.query = self.first
            return None
        assert session["type"] == "session", session
        at = session["resume_at"]
        assert at >= self.acked, f"{self.acked - at} acknowledged samples were lost"
        assert at <= self.sent, f"{at - self.sent} samples were counted twice"
        self.not_kept = max(self.not_kept, (self.sent - at) / RATE)
        self.recording_id = session["recording_id"]
        self.query = f"?ack=disk&clock=samples&resume_token={session['resume_token']}"
        return at

    async def speak(self, url: str) -> None:
        """Until the connection breaks."""
        try:
            async with self.session(url) as (socket, at):
                self.resumed.set()
                listening = asyncio.create_task(self.listen(socket))
                await self.send_from(socket, at)
                await listening
        finally:
            self.resumed.set()

    async def send_from(self, socket, at: int) -> None:
        began = time.monotonic() - at / RATE
        try:
            while message := self.pcm[2 * at : 2 * at + MESSAGE]:
                await socket.send(message)
                at += len(message) // 2
                self.sent = max(self.sent, at)
                await asyncio.sleep(max(0.0, began + at / RATE - time.monotonic()))
        except ConnectionClosed:
            pass

    async def listen(self, socket) -> None:
        try:
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "ack":
                    self.acked = message["samples"]
        except ConnectionClosed as end:
            self.close_codes.append(end.rcvd.code if end.rcvd else None)

    async def stop(self, url: str) -> None:
        """Send what was not kept, and end the session."""
        async with self.session(url) as (socket, at):
            await socket.send(self.pcm[2 * at : 2 * self.sent])
            await socket.send('{"type":"stop"}')
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "stopped":
                    assert message["samples"] == self.sent


async def speak_until(server, callers: list[Caller], chance: random.Random, end) -> None:
    """Speak until `end` takes the server away at some moment."""
    for caller in callers:
        caller.resumed.clear()
    speaking = [asyncio.create_task(caller.speak(server.url("/v1/ingest/pcm", "ws"))) for caller in callers]
    await asyncio.gather(*(caller.resumed.wait() for caller in callers))
    await asyncio.sleep(chance.uniform(0.2, LONGEST_ROUND - 0.5))
    await end()
    for outcome in await asyncio.gather(*speaking, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, ConnectionClosed):
            raise outcome


async def speak_and_kill(server, callers: list[Caller], chance: random.Random) -> float:
    """One round; seconds until the server was ready again."""

    async def kill():
        server.kill()

    await speak_until(server, callers, chance, kill)
    began = time.monotonic()
    await asyncio.to_thread(server.start)
    return time.monotonic() - began


async def stop_and_compare(server, callers: list[Caller]) -> None:
    """End all calls: nothing that was sent is missing, twice or elsewhere."""
    await asyncio.gather(*(caller.stop(server.url("/v1/ingest/pcm", "ws")) for caller in callers))
    for caller in callers:
        server.completed(caller.recording_id, 60)
        verdict = compare(wave_file(server.stream(caller.recording_id))[1], caller.pcm[: 2 * caller.sent])
        assert verdict.intact, verdict


async def batch(server, kills: int, seed: str) -> dict[str, float]:
    """A hundred calls through so many kills; the worst figures."""
    chance = random.Random(seed)
    callers = [Caller(f"{seed}-{number}", kills * (LONGEST_ROUND + 1)) for number in range(CALLS)]
    ready = [await speak_and_kill(server, callers, chance) for _ in range(kills)]
    await stop_and_compare(server, callers)
    return {"sent but not kept, s": max(caller.not_kept for caller in callers), "ready again, s": max(ready)}


def test_kills_under_a_hundred_live_calls_lose_nothing_acknowledged(new_server, request):
    kills = request.config.getoption("--kills")
    seed = f"{random.randrange(1 << 32):08x}"
    print(f"seed {seed}, {kills} kills")
    server = new_server(REELTIME_RESUME_WINDOW="120s").start()
    for number, first in enumerate(range(0, kills, KILLS_A_CALL)):
        figures = asyncio.run(batch(server, min(KILLS_A_CALL, kills - first), f"{seed}-{number}"))
        print(figures)
        for name, bar in BARS.items():
            assert figures[name] <= SLACK * bar, (name, figures)


async def speak_and_terminate(server, callers: list[Caller], chance: random.Random) -> float:
    """One round; seconds until the server had drained and was gone. Each client is told to come back."""
    seconds = 0.0

    async def terminate():
        nonlocal seconds
        began = time.monotonic()
        assert await asyncio.to_thread(server.terminate, SLACK * EXIT_BAR) == 0, server.log()
        seconds = time.monotonic() - began

    for caller in callers:
        caller.close_codes.clear()
    await speak_until(server, callers, chance, terminate)
    assert {code for caller in callers for code in caller.close_codes} == {1012}
    assert all(len(caller.close_codes) == 1 for caller in callers)
    await asyncio.to_thread(server.start)
    return seconds


async def terminate_again_and_again(server, terms: int, seed: str) -> float:
    """The longest it took to exit."""
    chance = random.Random(seed)
    callers = [Caller(f"{seed}-{number}", terms * (LONGEST_ROUND + EXIT_BAR)) for number in range(CALLS)]
    exits = [await speak_and_terminate(server, callers, chance) for _ in range(terms)]
    await stop_and_compare(server, callers)
    return max(exits)


def test_stops_under_a_hundred_live_calls_lose_nothing(new_server, request):
    terms = request.config.getoption("--terms")
    seed = f"{random.randrange(1 << 32):08x}"
    print(f"seed {seed}, {terms} stops")
    server = new_server(REELTIME_RESUME_WINDOW="120s", REELTIME_DRAIN_TIMEOUT="1s").start()
    for number, first in enumerate(range(0, terms, KILLS_A_CALL)):
        slowest = asyncio.run(terminate_again_and_again(server, min(KILLS_A_CALL, terms - first), f"{seed}-{number}"))
        print(f"gone after {slowest:.3f} s at most")
        assert slowest <= SLACK * EXIT_BAR
