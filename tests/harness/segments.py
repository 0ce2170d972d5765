"""A client of the segments API, and segments to send."""

import io
import wave
from dataclasses import dataclass

from . import judges
from .server import Server

BEGIN = 1_735_790_645_000
"""When the recordings of these tests begin, in Unix milliseconds."""


def wav(pcm: bytes, rate: int = 16_000, channels: int = 1) -> bytes:
    """A WAV file by another's writer."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(pcm)
    return file.getvalue()


@dataclass
class Segment:
    """`at`: seconds after the recording's begin."""

    user: str
    index: int
    at: float
    content: bytes
    seconds: float
    form: str = "wav"

    @staticmethod
    def tone(user: str, index: int, at: float, pitch: float, seconds: float = 1.0) -> "Segment":
        return Segment(user, index, at, wav(judges.tone(pitch, seconds)), seconds)

    def described(self) -> dict:
        begin = BEGIN + round(1_000 * self.at)
        end = begin + round(1_000 * self.seconds)
        return {
            "userId": f"id-{self.user}",
            "username": self.user,
            "segmentIndex": self.index,
            "fileName": f"segment_{self.index:03}.{self.form}",
            "fileSize": len(self.content),
            "absoluteStartTime": begin,
            "absoluteEndTime": end,
            "duration": end - begin,
            "format": self.form,
        }


class Recording:
    """A recording that is made of segments, live."""

    def __init__(self, server: Server, session: str, **fields):
        self.server = server
        body = {"sessionId": session, "guildId": "g", "channelId": "c", "recordedAt": BEGIN} | fields
        answer = server.request("POST", "/api/recordings/init-live", json=body)
        assert answer.status_code == 200, answer.text
        self.id = answer.json()["recordingId"]

    def post(self, call: str, body: dict):
        return self.server.request("POST", f"/api/recordings/{self.id}/{call}", json=body, timeout=60)

    def address(self, segment: Segment, **fields) -> str:
        answer = self.post("segment-upload-url", segment.described() | fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["uploadUrl"]

    def put(self, address: str, content: bytes, kind: str = "audio/wav"):
        return self.server.request("PUT", address, data=content, headers={"Content-Type": kind}, timeout=60)

    def send(self, segment: Segment) -> dict:
        kind = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg"}[segment.form]
        answer = self.put(self.address(segment), segment.content, kind)
        assert answer.status_code == 200, answer.text
        return segment.described() | {"blobUrl": answer.json()["url"], "filePath": answer.json()["blobPath"]}

    def finalize(self, segments: list[dict]) -> dict:
        answer = self.post("finalize", {"segments": segments, "sessionEndTime": BEGIN, "participantCount": 1})
        assert answer.status_code == 200, answer.text
        return answer.json()["recording"]
