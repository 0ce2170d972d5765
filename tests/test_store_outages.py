"""The store is killed, stopped, answers 500 or 503, is slow, breaks off, or loses its answers, while calls go on and
others end: who talks feels nothing, memory stays flat, and afterwards everything is in the store, once.

In the suite each fault lasts a second. `./scripts/test outages SECONDS` has it last longer, and asks for the backlog to
drain ten times faster than it was spoken.
"""

import asyncio
import functools
import json
import random
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness.judges import wave_file
from harness.network import Network
from harness.oracle import indexed_pcm
from harness.server import until
from websockets.asyncio.client import connect

RATE = 16_000
FAULTS = ("none", "500", "503", "slow", "half", "lost", "mixed", "stopped", "killed")
LETS_THROUGH = ("none", "slow", "mixed")
"""Faults during which some recordings are stored."""
LIVE = 8
LONG, TWO_PARTS = 3, 380
"""Calls that are sent in parts while they last, and seconds of which two parts are made: 12 MiB."""
SHORT = 20
"""Seconds of a call that ends in the outage."""
EVERY = 0.5
"""Seconds from the end of one to that of the next."""
WORST_ACK = 10.0
"""Seconds that an acknowledgement may take on a machine that does much else."""
BUDGET = 16 << 20
"""Of parts that are held in memory: bytes."""
GROWTH = 48
"""Of memory in an outage: the budget, bundles of 8 MiB on their way, and what waits. MiB."""
DRAINS = 10
"""Times real time."""


@functools.lru_cache(64)
def voice(name: str) -> bytes:
    return indexed_pcm(name, RATE)


def spoken(name: str, second: int) -> bytes:
    """A second of a call's sound: its voice, begun a sample later each time."""
    return voice(name)[2 * second :] + voice(name)[: 2 * second]


class Call:
    """A client that asks for its sound on the disk to be acknowledged."""

    def __init__(self, name: str):
        self.name = name
        self.seconds = self.acked = 0
        self.longest = 0.0
        self.sent: deque[tuple[int, float]] = deque()
        """Samples that wait for their acknowledgement, and since when."""

    async def open(self, server) -> "Call":
        url = server.url("/v1/ingest/pcm?ack=disk&clock=samples", "ws")
        self.socket = await connect(url, subprotocols=["reeltime.v1"], compression=None, proxy=None)
        self.recording = json.loads(await self.socket.recv())["recording_id"]
        self.listening = asyncio.create_task(self._listen())
        return self

    async def say(self, seconds: int, messages: int = 1, pace: float = 0.0) -> None:
        """The next seconds, each in so many messages, `pace` seconds apart."""
        samples = RATE // messages
        for second in range(self.seconds, self.seconds + seconds):
            pcm = spoken(self.name, second)
            for at in range(0, RATE, samples):
                now = time.monotonic()
                self.sent.append((second * RATE + at + samples, now))
                await self.socket.send(pcm[2 * at : 2 * (at + samples)])
                await asyncio.sleep(max(0.0, now + pace - time.monotonic()))
        self.seconds += seconds

    async def speak_until(self, end: asyncio.Event) -> None:
        while not end.is_set():
            await self.say(1, 10, 0.1)

    async def stop(self) -> None:
        await self.socket.send('{"type":"stop"}')
        stopped = await asyncio.wait_for(self.listening, 60)
        assert stopped["samples"] == self.seconds * RATE

    def worst_ack(self) -> float:
        """Seconds that a sample has waited for its acknowledgement, or still waits."""
        return max(self.longest, time.monotonic() - self.sent[0][1] if self.sent else 0.0)

    async def say_and_stop(self, seconds: int, rest: float = 0.0) -> None:
        await self.say(seconds)
        await asyncio.sleep(rest)
        await self.stop()

    async def _listen(self) -> dict:
        """To the end, which is asked for. Anything but acknowledgements before it is a call that was disturbed."""
        while (message := json.loads(await self.socket.recv()))["type"] == "ack":
            self.acked = message["samples"]
            self.longest = self.worst_ack()
            while self.sent and self.sent[0][0] <= self.acked:
                self.sent.popleft()
        assert message["type"] == "stopped", message
        return message


@dataclass
class Store:
    """The store, what lies between it and the server, and what can go wrong with both."""

    s3: object
    network: Network

    def fail(self, fault: str) -> None:
        {"stopped": self.s3.suspend, "killed": self.s3.kill}.get(fault, lambda: self._mode(fault))()

    def mend(self, fault: str) -> None:
        {"stopped": self.s3.resume, "killed": self.s3.start}.get(fault, lambda: self._mode("none"))()

    def _mode(self, fault: str) -> None:
        self.network.mode = "pass" if fault == "none" else fault


@dataclass
class Outage:
    """One outage and what was measured of it."""

    fault: str
    worst_ack: float = 0.0
    memory: list[float] = field(default_factory=list)
    recordings: int = 0
    audio: float = 0.0
    drained: float = 0.0

    pace = property(lambda self: self.audio / max(self.drained, 1e-3))

    def __str__(self) -> str:
        before, most, after = self.memory[0], max(self.memory), self.memory[-1]
        return (
            f"{self.fault:8} {self.worst_ack:7.2f} s {before:6.0f} {most:6.0f} {after:6.0f} MiB {self.recordings:8}"
            f" {self.audio:8.0f} s {self.drained:8.1f} s {self.pace:8.0f}"
        )


TITLES = "fault    worst ack  RSS before, most, after  waiting     audio drained in   x real time"


def resident(server) -> float:
    """MiB of memory that the server takes."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def backlog(server) -> dict:
    return server.get("/api/v1/store").json()["backlog"]


async def calls_end(server, fault: str, seconds: float, long: list[Call]) -> list[Call]:
    """As long as the outage lasts: a short call again and again, the long ones in its middle."""
    began, ended = time.monotonic(), []
    growing = [asyncio.create_task(call.say_and_stop(TWO_PARTS, seconds / 2)) for call in long]
    while time.monotonic() - began < seconds:
        ended.append(await Call(f"{fault} short {len(ended)}").open(server))
        await ended[-1].say_and_stop(SHORT)
        await asyncio.sleep(max(0.0, began + EVERY * len(ended) - time.monotonic()))
    await asyncio.gather(*growing)
    return ended + long


async def watch(server, memory: list[float], end: asyncio.Event) -> None:
    while not end.is_set():
        memory.append(resident(server))
        await asyncio.sleep(0.2)


async def drained(server) -> float:
    """Seconds until nothing waits for the store."""
    began = time.monotonic()
    await asyncio.to_thread(until, "the backlog to drain", lambda: backlog(server)["recordings"] == 0, 300, 0.05)
    return time.monotonic() - began


async def grow(server, fault: str) -> list[Call]:
    """Long calls, all but the first so long that they are on their way to the store."""
    long = [await Call(f"{fault} long {n}").open(server) for n in range(LONG)]
    sent = server.metric("reeltime_upload_parts_sent_total")
    await asyncio.gather(*(call.say(TWO_PARTS) for call in long[1:]))
    more = lambda: server.metric("reeltime_upload_parts_sent_total") > sent  # noqa: E731
    await asyncio.to_thread(until, "a part to be sent", more, 30)
    return long


async def outlast(server, store: Store, fault: str, seconds: float) -> tuple[Outage, list[Call]]:
    """One outage under live calls, and all calls that it met."""
    outage, over = Outage(fault), asyncio.Event()
    live = [await Call(f"{fault} live {n}").open(server) for n in range(LIVE)]
    speaking = [asyncio.create_task(call.speak_until(over)) for call in live]
    *ending, staying = await grow(server, fault)
    speaking.append(asyncio.create_task(watch(server, outage.memory, over)))
    await asyncio.to_thread(store.fail, fault)
    speaking.append(asyncio.create_task(staying.say(TWO_PARTS)))
    ended = await calls_end(server, fault, seconds, ending)
    waiting = backlog(server)
    outage.recordings, outage.audio = waiting["recordings"], waiting["bytes"] / (2 * RATE)
    await asyncio.to_thread(store.mend, fault)
    outage.drained = await drained(server)
    over.set()
    await asyncio.gather(*speaking)
    outage.worst_ack = max(call.worst_ack() for call in live)
    await asyncio.gather(*(call.stop() for call in (*live, staying)))
    return outage, [*ended, *live, staying]


def check_each_is_there_once(server, s3, calls: list[Call]) -> None:
    for call in calls:
        server.completed(call.recording, 90)
    objects = s3.objects("calls/recordings/")
    for call in calls:
        [key] = [key for key in objects if call.recording in key]
        said = b"".join(spoken(call.name, second) for second in range(call.seconds))
        assert wave_file(s3.read(key))[1] == said, call.name


def check_nothing_else_is_there(s3, recordings: int) -> None:
    until("the bundles to go", lambda: not s3.objects("calls/_reeltime/bundles/"), 90)
    found = {folder: len(s3.objects(f"calls/{folder}")) for folder in ("recordings/", "_reeltime/manifests/", "")}
    assert found == {"recordings/": recordings, "_reeltime/manifests/": recordings, "": 2 * recordings}
    # An upload whose beginning was not answered is a name without bytes, which nobody can know of.
    until("no upload to hold bytes", lambda: s3.unfinished() == 0, 90)


@pytest.fixture
def network(s3):
    seed = f"{random.randrange(1 << 32):08x}"
    print(f"seed {seed}")
    network = Network(s3.port, seed).start()
    yield network
    network.stop()


def test_a_store_that_fails_in_any_way_disturbs_no_call_and_has_everything_once(new_server, s3, network, request):
    wanted = request.config.getoption("--outage")
    settings = s3.settings("calls", AWS_ENDPOINT_URL_S3=network.endpoint)
    server = new_server(**settings, REELTIME_UPLOAD_BUDGET=str(BUDGET)).start()
    store, outages, calls = Store(s3, network), [], 0
    print(TITLES)
    for fault in FAULTS:
        outage, met = asyncio.run(outlast(server, store, fault, wanted or 1.0))
        print(outage, flush=True)
        check_each_is_there_once(server, s3, met)
        outages.append(outage)
        calls += len(met)
    check_nothing_else_is_there(s3, calls)
    for outage in outages:
        assert outage.worst_ack <= WORST_ACK, outage
        assert max(outage.memory) - outage.memory[0] <= GROWTH, outage
        assert outage.fault in LETS_THROUGH or outage.recordings > 0, outage
        assert outage.fault in LETS_THROUGH or not wanted or outage.pace >= DRAINS, outage
    assert all(network.met[fault] for fault in ("500", "503", "slow", "half", "lost")), network.met
