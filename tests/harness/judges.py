"""Other people's programs, asked what they think of our files, and made to produce audio for us."""

import array
import io
import json
import math
import subprocess
import wave


def run(*command: str, stdin: bytes | None = None) -> bytes:
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.decode(errors='replace')}"
    return done.stdout


def espeak(text: str, rate: int = 16_000) -> bytes:
    """Speech as mono s16le."""
    spoken = run("espeak-ng", "--stdout", text)
    return run(
        "sox",
        "-t",
        "wav",
        "--ignore-length",
        "-",
        "-t",
        "raw",
        "-r",
        str(rate),
        "-e",
        "signed",
        "-b",
        "16",
        "-c",
        "1",
        "-",
        stdin=spoken,
    )


def tone(hertz: float, seconds: float, rate: int = 16_000, level: float = 0.5) -> bytes:
    """A sine as mono s16le."""
    return array.array(
        "h", [round(32_767 * level * math.sin(2 * math.pi * hertz * i / rate)) for i in range(round(seconds * rate))]
    ).tobytes()


def power(pcm: bytes, hertz: float, rate: int) -> float:
    """How much of `hertz` is in it (Goertzel), 0 to 1 for a full-scale sine."""
    samples = array.array("h")
    samples.frombytes(pcm)
    turn = 2 * math.cos(2 * math.pi * hertz / rate)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample / 32_768 + turn * last - before
    return (before * before + last * last - turn * before * last) * 4 / len(samples) ** 2


def ffprobe(content: bytes) -> dict:
    """The only stream's facts, with the container's format and duration (read by decoding, not from the header)."""
    told = json.loads(run("ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", "-", stdin=content))
    (stream,) = told["streams"]
    return stream | {"format": told["format"]["format_name"]}


def decode(content: bytes, rate: int | None = None, source: tuple[str, ...] = ()) -> bytes:
    """Decoded by ffmpeg to s16le; `source` describes input without a header."""
    resample = ("-ar", str(rate)) if rate else ()
    return run("ffmpeg", "-v", "error", *source, "-i", "-", "-f", "s16le", *resample, "-", stdin=content)


def sox_decode(content: bytes, kind: str = "wav", options: tuple[str, ...] = ()) -> bytes:
    """Decoded by sox to s16le."""
    return run("sox", "-D", "-t", kind, *options, "-", "-t", "raw", "-e", "signed", "-b", "16", "-", stdin=content)


def soxi_samples(path) -> int:
    """Samples per channel, as sox reads the file's header."""
    return int(run("soxi", "-s", str(path)))


def wave_file(content: bytes) -> tuple[wave._wave_params, bytes]:
    """Parameters and every frame, as Python's `wave` reads them."""
    with wave.open(io.BytesIO(content)) as reader:
        return reader.getparams(), reader.readframes(reader.getnframes())


def data_of(content: bytes) -> bytes:
    """The sound of a WAV, wherever its `data` chunk begins: as long as that says, up to the end of what was got."""
    assert content[:4] in (b"RIFF", b"RF64") and content[8:12] == b"WAVE", content[:12]
    at = 12
    while content[at : at + 4] != b"data":
        assert at < len(content), "no data chunk"
        at += 8 + int.from_bytes(content[at + 4 : at + 8], "little")
    # One that goes on says the most there is.
    return content[at + 8 :][: int.from_bytes(content[at + 4 : at + 8], "little")]


def ogg_pages(content: bytes):
    """Of each page: its granule position, its lacing values and its body."""
    at = 0
    while at < len(content):
        assert content[at : at + 4] == b"OggS", f"no page at byte {at}"
        count = content[at + 26]
        lacing = content[at + 27 : at + 27 + count]
        body = at + 27 + count
        yield (
            int.from_bytes(content[at + 6 : at + 14], "little", signed=True),
            lacing,
            content[body : body + sum(lacing)],
        )
        at = body + sum(lacing)


def opus_packets(content: bytes) -> list[bytes]:
    """The audio packets of an Ogg Opus file: all but its two heads."""
    packets, packet = [], b""
    for _, lacing, body in ogg_pages(content):
        at = 0
        for length in lacing:
            packet += body[at : at + length]
            at += length
            if length < 255:
                packets.append(packet)
                packet = b""
    assert packets[0].startswith(b"OpusHead") and packets[1].startswith(b"OpusTags")
    return packets[2:]


def opus_samples(packet: bytes) -> int:
    """How long a packet lasts, at 48 kHz (RFC 6716, section 3.1)."""
    mode, code = packet[0] >> 3, packet[0] & 3
    if mode < 12:
        frame = (480, 960, 1_920, 2_880)[mode & 3]
    elif mode < 16:
        frame = (480, 960)[mode & 1]
    else:
        frame = (120, 240, 480, 960)[mode & 3]
    return frame * (packet[1] & 0x3F if code == 3 else min(code, 1) + 1)
