"""The oracle: audio of which every stretch says where it belongs, so that loss, repetition and shift are counted exactly.

A session's samples are a pseudo-random stream made from a seed. No sample is 0, so silence that a server put in is
told from what was sent; any WINDOW samples in a row occur once, so what moved is found again.
"""

import random
from array import array
from dataclasses import dataclass

WINDOW = 8


def indexed_pcm(seed: str, samples: int) -> bytes:
    """`samples` s16le samples that belong to `seed` and to nothing else."""
    values = array("h")
    values.frombytes(random.Random(seed).randbytes(2 * samples))
    return array("h", [value or 1 for value in values]).tobytes()


def with_gain(pcm: bytes, gain: float) -> bytes:
    """As a recorder with this gain keeps it: each sample multiplied and saturated."""
    samples = array("h")
    samples.frombytes(pcm)
    return array("h", [max(-32768, min(32767, int(s * gain))) for s in samples]).tobytes()


@dataclass(frozen=True)
class Run:
    """A stretch of what came back: `length` samples from `at`, which were sent from `source` on.

    `source` is None for silence and -1 for samples that were never sent.
    """

    at: int
    length: int
    source: int | None


@dataclass(frozen=True)
class Verdict:
    """What became of the samples that were sent."""

    lost: int
    duplicated: int
    shifted: int
    silent: int
    foreign: int
    runs: tuple[Run, ...]

    @property
    def intact(self) -> bool:
        return not (self.lost or self.duplicated or self.shifted or self.silent or self.foreign)


def compare(got: bytes, sent: bytes) -> Verdict:
    """Count, in samples, what is missing, twice, elsewhere, silent or strange in `got`."""
    runs = _runs(got, sent)
    sent_samples = len(sent) // 2
    seen = bytearray(sent_samples)
    duplicated = shifted = silent = foreign = 0
    for run in runs:
        if run.source is None:
            silent += run.length
        elif run.source < 0:
            foreign += run.length
        else:
            again = sum(seen[run.source : run.source + run.length])
            duplicated += again
            seen[run.source : run.source + run.length] = b"\1" * run.length
            shifted += run.length if run.at != run.source else 0
    return Verdict(sent_samples - sum(seen), duplicated, shifted, silent, foreign, tuple(runs))


def _runs(got: bytes, sent: bytes) -> list[Run]:
    if sent.startswith(got):
        return [Run(0, len(got) // 2, 0)] if got else []
    there = array("h")
    there.frombytes(got)
    source = array("h")
    source.frombytes(sent)
    places = {sent[2 * i : 2 * (i + WINDOW)]: i for i in range(len(source) - WINDOW + 1)}
    runs: list[Run] = []
    at = 0
    while at < len(there):
        start = None if there[at] == 0 else places.get(got[2 * at : 2 * (at + WINDOW)], -1)
        if start is None:
            run = Run(at, _zeros(there, at), None)
        elif start < 0:
            run = Run(at, 1, -1)
        else:
            run = Run(at, _equal(there, at, source, start), start)
        runs.append(run)
        at += run.length
    return _joined(runs)


def _zeros(samples: array, at: int) -> int:
    end = at
    while end < len(samples) and samples[end] == 0:
        end += 1
    return end - at


def _equal(there: array, at: int, source: array, start: int) -> int:
    length = 0
    room = min(len(there) - at, len(source) - start)
    while length < room and there[at + length] == source[start + length]:
        length += 1
    return length


def _joined(runs: list[Run]) -> list[Run]:
    """Neighbouring strange samples as one run, so that a verdict can be read."""
    joined: list[Run] = []
    for run in runs:
        if joined and run.source == -1 == joined[-1].source:
            joined[-1] = Run(joined[-1].at, joined[-1].length + run.length, -1)
        else:
            joined.append(run)
    return joined
