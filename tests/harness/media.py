"""Calls of several speakers, and what is heard of them: a channel, a stretch, a pitch, a click at a time."""

import array
import json
import re
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import judges
from .clients import Ingest
from .server import until

EXACT = ("wav", "flac")
LOSSY = ("ogg", "mp3", "webm", "mp4")
FORMATS = EXACT + LOSSY
MIME = dict(zip(FORMATS, ("wav", "flac", "ogg", "mpeg", "webm", "mp4"), strict=True))


def samples(pcm: bytes) -> array.array:
    return array.array("h", pcm)


def silence(seconds: float, rate: int = 16_000) -> bytes:
    return bytes(2 * round(seconds * rate))


def click(length: float, at: float, rate: int = 16_000) -> bytes:
    """Silence but for one sample."""
    pcm = array.array("h", bytes(2 * round(length * rate)))
    pcm[round(at * rate)] = 30_000
    return pcm.tobytes()


def phrase(pitch: float, rate: int = 16_000, level: float = 0.3) -> bytes:
    """Two seconds that say who, when and how loud: a click at 0.25 s, a tone from 0.5 to 1.5 s, silence."""
    return click(0.5, 0.25, rate) + judges.tone(pitch, 1.0, rate, level) + silence(0.5, rate)


@dataclass(eq=False)
class Voice:
    """A speaker: `audio` as it is sent, in messages of `frame` bytes or packet by packet where it is a list."""

    name: str
    audio: bytes | list[bytes]
    rate: int = 16_000
    codec: str = "s16le"
    channels: int = 1
    client: Ingest | None = None

    def join(self, server, call: str, **query) -> "Voice":
        query = {"codec": self.codec, "rate": self.rate, "channels": self.channels} | query
        self.client = Ingest(server, call=call, participant=self.name, **query)
        return self

    def speak(self, audio: bytes | list[bytes] | None = None) -> "Voice":
        audio = self.audio if audio is None else audio
        packets = audio if isinstance(audio, list) else [audio[at : at + 640] for at in range(0, len(audio), 640)]
        for packet in packets:
            self.client.socket.send(packet)
        return self


def begin(server, call: str, *voices: Voice, **query) -> str:
    """All join, and each begins to speak once the one before is heard; the recording's id."""
    for voice in voices:
        voice.join(server, call, **query)
    recording = voices[0].client.recording_id
    for voice in voices:
        voice.speak()
        until(f"{voice.name} to be heard", partial(samples_of, server, recording, voice.name))
    return recording


def samples_of(server, recording: str, participant: str) -> int:
    """How many samples are there of the participant by now."""
    return track_of(server.recording(recording), participant)["samples"]


def record(server, call: str, *voices: Voice, **query) -> dict:
    """All say what they have to say; the recording when it is complete."""
    recording = begin(server, call, *voices, **query)
    for voice in voices:
        voice.client.stop()
    return server.completed(recording)


def track_of(recording: dict, participant: str) -> dict:
    (track,) = [track for track in recording["tracks"] if track["participant"] == participant]
    return track


def start_of(recording: dict, participant: str, rate: int) -> int:
    """Where the participant begins in a mix at `rate`, in samples."""
    return int(track_of(recording, participant)["start_seconds"] * rate + 0.5)


@dataclass
class Heard:
    """What a player gives of a file."""

    rate: int
    channels: list[array.array]

    def __len__(self) -> int:
        return len(self.channels[0])

    def power(self, pitch: float, begin: float, end: float, channel: int = 0) -> float:
        """Of this pitch between two seconds; the square of its level."""
        part = self.channels[channel][round(begin * self.rate) : round(end * self.rate)]
        return judges.power(part.tobytes(), pitch, self.rate)

    def loudest(self, begin: float, end: float, channel: int = 0) -> int:
        """The sample with the highest peak between two seconds."""
        first = round(begin * self.rate)
        part = self.channels[channel][first : round(end * self.rate)]
        return first + max(range(len(part)), key=lambda index: abs(part[index]))

    def peak(self, begin: float = 0.0, end: float | None = None, channel: int = 0) -> int:
        last = len(self) if end is None else round(end * self.rate)
        return max((abs(sample) for sample in self.channels[channel][round(begin * self.rate) : last]), default=0)


def play(content: bytes, folder: Path, form: str, rate: int | None = None) -> Heard:
    """What ffmpeg gives of the file, which lies on a disk as a player's does."""
    path = folder / f"played.{form}"
    path.write_bytes(content)
    facts = judges.ffprobe(content) if form != "mp4" else probe(path)
    channels = int(facts["channels"])
    rate = rate or int(facts["sample_rate"])
    raw = judges.run("ffmpeg", "-v", "error", "-i", str(path), "-f", "s16le", "-ar", str(rate), "-")
    interleaved = samples(raw)
    return Heard(rate, [interleaved[index::channels] for index in range(channels)])


def probe(path: Path) -> dict:
    """What ffprobe says of the only stream."""
    command = ("ffprobe", "-v", "error", "-select_streams", "a", "-show_streams", "-of", "json", str(path))
    (stream,) = json.loads(judges.run(*command))["streams"]
    return stream


def complains(form: str, path: Path) -> str:
    """What the format's own tool says against a file; nothing where all is well."""
    checks = {
        "flac": ("flac", "--test", "--silent", "--warnings-as-errors", str(path)),
        "ogg": ("opusinfo", "-q", str(path)),
        "mp3": ("mpg123", "-q", "-t", str(path)),
        "wav": ("sox", "-V2", str(path), "-n"),
    }
    command = checks.get(form, ("ffmpeg", "-v", "warning", "-xerror", "-i", str(path), "-f", "null", "-"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    said = "\n".join(line for line in said.splitlines() if line.strip() and not line.startswith(_HARMLESS))
    return said if said or not done.returncode else f"exit {done.returncode}"


_HARMLESS = ("Guessed Channel", "Processing file")
"""What the tools say of every file."""


def loudness(content: bytes, channel: int | None = None) -> float:
    """In LUFS, as ffmpeg's meter has it."""
    pan = f"pan=mono|c0=c{channel}," if channel is not None else ""
    command = ["ffmpeg", "-hide_banner", "-nostats", "-i", "-", "-af", f"{pan}ebur128", "-f", "null", "-"]
    done = subprocess.run(command, input=content, capture_output=True, timeout=60, check=True)
    return float(re.findall(r"I:\s+(-?[\d.]+) LUFS", done.stderr.decode())[-1])


def opus_of(pcm: bytes, rate: int = 48_000, milliseconds: int = 20, *options: str) -> list[bytes]:
    """Packets as an encoder sends them, of mono s16le."""
    command = ("opusenc", "--quiet", "--raw", "--raw-rate", str(rate), "--raw-chan", "1", "--framesize")
    return judges.opus_packets(judges.run(*command, str(milliseconds), *options, "-", "-", stdin=pcm))


def g711_of(pcm: bytes, law: str, rate: int = 8_000) -> bytes:
    """Mono s16le by another's encoder."""
    head = ("ffmpeg", "-v", "error", "-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", "-")
    return judges.run(*head, "-f", law, "-", stdin=pcm)
