"""The store is killed, stopped, answers 500 or 503, is slow, breaks off, or loses its answers, while calls go on and
others end: who talks feels nothing, memory stays flat, and afterwards everything is in the store, once.

In the suite each fault lasts seconds; `./scripts/test outages SECONDS` has it last longer, and asks for the backlog to drain
ten times faster than it was spoken.
"""

import asyncio
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
MIB = 1 << 20
FAULTS = ("none", "500", "503", "slow", "half", "lost", "stopped", "killed")
LIVE = 8
LONG, LONG_BEFORE, LONG_AFTER = 2, 380, 190
"""Calls that are sent in parts, and seconds of them before and in the outage: 12 MiB and 6."""
SHORT = 20
"""Seconds of a call that ends in the outage."""
EVERY = 0.5
"""Seconds from the end of one to that of the next."""
WORST_ACK = 10.0
"""Seconds that an acknowledgement may take on a machine that does much else."""
BUDGET = 16 * MIB
"""Of parts that are held in memory."""
GROWTH = BUDGET + 32 * MIB
"""Of memory in an outage: the budget, a bundle and its copy, and what the backlog's entries take."""
DRAINS = 10


def spoken(name: str, seconds: int) -> bytes:
    """A call's sound, which can be made second by second."""
    return b"".join(indexed_pcm(f"{name} {second}", RATE) for second in range(seconds))


class Call:
    """A client that asks for its sound on the disk to be acknowledged."""

    def __init__(self, name: str):
        self.name = name
        self.seconds = self.acked = 0
        self.worst = 0.0
        self.sent: deque[tuple[int, float]] = deque()
        """Samples that wait for their acknowledgement, and since when."""

    async def open(self, server) -> "Call":
        url = server.url("/v1/ingest/pcm?ack=disk&clock=samples", "ws")
        self.socket = await connect(url, subprotocols=["reeltime.v1"], compression=None, proxy=None)
        self.recording = json.loads(await self.socket.recv())["recording_id"]
        self.listening = asyncio.create_task(self._listen())
        return self

    async def say(self, seconds: int, pace: float = 0.0) -> None:
        """The next seconds, each in messages of a tenth that come `pace` seconds apart."""
        for second in range(self.seconds, self.seconds + seconds):
            pcm = indexed_pcm(f"{self.name} {second}", RATE)
            for at in range(0, RATE, RATE // 10):
                due = time.monotonic() + pace
                self.sent.append((second * RATE + at + RATE // 10, time.monotonic()))
                await self.socket.send(pcm[2 * at : 2 * at + RATE // 5])
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        self.seconds += seconds

    async def speak_until(self, end: asyncio.Event) -> None:
        while not end.is_set():
            await self.say(1, 0.1)

    async def stop(self) -> None:
        await self.socket.send('{"type":"stop"}')
        stopped = await asyncio.wait_for(self.listening, 60)
        assert stopped["samples"] == self.seconds * RATE

    async def _listen(self) -> dict:
        """To the end, which is asked for. Anything but acknowledgements before it is a call that was disturbed."""
        while (message := json.loads(await self.socket.recv()))["type"] == "ack":
            self.acked = message["samples"]
            while self.sent and self.sent[0][0] <= self.acked:
                self.worst = max(self.worst, time.monotonic() - self.sent.popleft()[1])
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
    TITLES = f"{'fault':8} {'worst ack':>9} {'RSS before, most, after':>24} {'waiting':>8} {'of audio':>9} {'drained in':>10} {'x real time':>11}"

    def __str__(self) -> str:
        memory = " ".join(f"{mib:6.1f}" for mib in (self.memory[0], max(self.memory), self.memory[-1]))
        return (
            f"{self.fault:8} {self.worst_ack:7.2f} s {memory:>20} MiB {self.recordings:8} {self.audio:7.0f} s"
            f" {self.drained:8.1f} s {self.pace:11.0f}"
        )


def resident(server) -> float:
    """MiB of memory that the server takes."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def backlog(server) -> dict:
    return server.get("/api/v1/store").json()["backlog"]


async def calls_end(server, fault: str, seconds: float, long: list[Call]) -> list[Call]:
    """As long as the outage lasts: the long calls in its middle, a short one again and again."""
    began, ended = time.monotonic(), []
    growing = [asyncio.create_task(call.say(LONG_AFTER)) for call in long]
    while (past := time.monotonic() - began) < seconds:
        call = await Call(f"{fault} short {len(ended)}").open(server)
        await call.say(SHORT)
        await call.stop()
        ended.append(call)
        if long and past > seconds / 2:
            await asyncio.gather(*growing)
            await asyncio.gather(*(call.stop() for call in long))
            ended += long
            long = []
        await asyncio.sleep(max(0.0, began + EVERY * len(ended) - time.monotonic()))
    for call in long:
        await call.stop()
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


async def outlast(server, store: Store, fault: str, seconds: float) -> tuple[Outage, list[Call]]:
    """One outage under live calls, and all calls that it met."""
    outage, over = Outage(fault), asyncio.Event()
    live = [await Call(f"{fault} live {n}").open(server) for n in range(LIVE)]
    speaking = [asyncio.create_task(call.speak_until(over)) for call in live]
    long = [await Call(f"{fault} long {n}").open(server) for n in range(LONG)]
    parts = server.metric("reeltime_upload_parts_sent_total")
    await asyncio.gather(*(call.say(LONG_BEFORE) for call in long))
    await asyncio.to_thread(
        until, "a part to be sent", lambda: server.metric("reeltime_upload_parts_sent_total") > parts, 30
    )
    watching = asyncio.create_task(watch(server, outage.memory, over))
    await asyncio.to_thread(store.fail, fault)
    ended = await calls_end(server, fault, seconds, long)
    waiting = backlog(server)
    outage.recordings, outage.audio = waiting["recordings"], waiting["bytes"] / (2 * RATE)
    await asyncio.to_thread(store.mend, fault)
    outage.drained = await drained(server)
    over.set()
    await asyncio.gather(*speaking, watching)
    await asyncio.gather(*(call.stop() for call in live))
    outage.worst_ack = max(call.worst for call in live)
    return outage, ended + live


def check_each_is_there_once(server, s3, calls: list[Call]) -> None:
    for call in calls:
        server.completed(call.recording, 90)
    objects = s3.objects("calls/recordings/")
    for call in calls:
        [key] = [key for key in objects if call.recording in key]
        assert wave_file(s3.read(key))[1] == spoken(call.name, call.seconds), call.name


def check_nothing_else_is_there(s3, recordings: int) -> None:
    until("the bundles to go", lambda: not s3.objects("calls/_reeltime/bundles/"), 90)
    found = {folder: len(s3.objects(f"calls/{folder}")) for folder in ("recordings/", "_reeltime/manifests/", "")}
    assert found == {"recordings/": recordings, "_reeltime/manifests/": recordings, "": 2 * recordings}
    until("no upload to be open", lambda: not s3.uploads(), 30)


@pytest.fixture
def network(s3):
    seed = f"{random.randrange(1 << 32):08x}"
    print(f"seed {seed}")
    network = Network(s3.port, seed).start()
    yield network
    network.stop()


def test_a_store_that_fails_in_any_way_disturbs_no_call_and_has_everything_once(new_server, s3, network, request):
    seconds = request.config.getoption("--outage")
    settings = s3.settings("calls", AWS_ENDPOINT_URL_S3=network.endpoint)
    server = new_server(**settings, REELTIME_UPLOAD_BUDGET=str(BUDGET), REELTIME_LOG="info").start()
    store, outages, calls = Store(s3, network), [], []
    for fault in FAULTS:
        began = time.monotonic()
        outage, met = asyncio.run(outlast(server, store, fault, seconds))
        outages.append(outage)
        calls += met
        print(outage, f"all {time.monotonic()-began:.1f}", flush=True)
        check_each_is_there_once(server, s3, met)
        print(f"all {time.monotonic()-began:.1f}", s3.uploads(), flush=True)
    print(Outage.TITLES, *outages, sep="\n")
    check_nothing_else_is_there(s3, len(calls))
    for outage in outages:
        assert outage.worst_ack <= WORST_ACK, outage
        assert max(outage.memory) - outage.memory[0] <= GROWTH / MIB, outage
        assert outage.fault in ("none", "slow") or outage.recordings > 0, outage
