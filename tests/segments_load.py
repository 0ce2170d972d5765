"""Many segments, many times faster than real time: `python tests/segments_load.py --hours 3 --speakers 4`.

Prints the server's memory as a curve over the media, and checks that every segment lies in the store as it was sent.
Exit status 1 where memory grows by more than a mebibyte over the last two thirds.
"""

import argparse
import hashlib
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import judges
from harness.segments import Recording, Segment, wav
from harness.server import Server

TURN = 9.4
"""Seconds from one utterance of a speaker to the next: 3 hours of 4 speakers are about 4,600."""
SPOKEN = 4.0


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * 4_096


def load(server: Server, hours: float, speakers: int, parallel: int = 5, points: int = 18) -> tuple[list, float]:
    """Memory at so many points of the media, and how many times faster than real time it went."""
    idle = resident(server.pid)
    recording = Recording(server, "load")
    turns = int(hours * 3_600 / TURN)
    tones = [judges.tone(300 + 100 * speaker, SPOKEN) for speaker in range(speakers)]
    sent, curve, begun = [], [(0.0, idle)], time.monotonic()

    def send(turn: int, speaker: int) -> tuple[str, str]:
        # No two are the same: the first samples count.
        pcm = turn.to_bytes(4, "little") + speaker.to_bytes(4, "little") + tones[speaker][8:]
        at = turn * TURN + speaker * TURN / speakers
        segment = Segment(f"speaker-{speaker}", turn, at, wav(pcm), SPOKEN)
        return recording.send(segment)["filePath"], hashlib.sha256(segment.content).hexdigest()

    with ThreadPoolExecutor(parallel) as pool:
        step = max(1, turns // points)
        for begin in range(0, turns, step):
            part = range(begin, min(begin + step, turns))
            jobs = [pool.submit(send, turn, speaker) for turn in part for speaker in range(speakers)]
            sent += [job.result() for job in jobs]
            curve.append(((part[-1] + 1) * TURN / 3_600, resident(server.pid)))
    took = time.monotonic() - begun
    assert len({path for path, _ in sent}) == len(sent) == turns * speakers
    told = recording.finalize([])
    assert (told["segmentCount"], told["missingSegments"]) == (len(sent), [])
    objects = server.data_dir / "objects"
    different = [path for path, sha in sent if hashlib.sha256((objects / path).read_bytes()).hexdigest() != sha]
    assert not different, different[:3]
    server.completed(recording.id, 600)
    curve.append((hours, resident(server.pid)))
    return curve, turns * TURN / took


def slope(curve: list) -> float:
    """Mebibytes an hour over the last two thirds of the media, by least squares."""
    points = [(hour, size / 2**20) for hour, size in curve if hour >= curve[-1][0] / 3]
    mean_hour = sum(hour for hour, _ in points) / len(points)
    mean_size = sum(size for _, size in points) / len(points)
    spread = sum((hour - mean_hour) ** 2 for hour, _ in points)
    return sum((hour - mean_hour) * (size - mean_size) for hour, size in points) / spread


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hours", type=float, default=3)
    parser.add_argument("--speakers", type=int, default=4)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        server = Server(Path(home)).start()
        try:
            curve, speed = load(server, asked.hours, asked.speakers)
        finally:
            server.stop()
    for hour, size in curve:
        print(f"{hour:5.2f} h  {size / 2**20:6.1f} MiB")
    live = curve[:-1]
    growth = slope(live) * (live[-1][0] * 2 / 3)
    print(f"{speed:.0f} times real time; {growth:+.2f} MiB over the last two thirds")
    return int(growth > 1)


if __name__ == "__main__":
    sys.exit(main())
