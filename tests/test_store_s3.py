"""Recordings in a real S3: what is written there, what other people's client reads, and what happens when it goes away."""

from harness.clients import Ingest
from harness.judges import wave_file
from harness.oracle import indexed_pcm


def recorded(server, pcm: bytes, **query) -> str:
    """Sent and stopped; the recording's id once it is complete."""
    client = Ingest(server, **query)
    client.send(pcm)
    client.stop()
    server.completed(client.recording_id, seconds=60)
    return client.recording_id


def sound(s3) -> list[str]:
    return [key for key in s3.objects("rec/recordings/") if key.endswith(".wav")]


def test_what_another_client_reads_is_what_the_server_streams(new_server, s3):
    server = new_server(**s3.settings("rec")).start()
    pcm = indexed_pcm("in the bucket", 48_000)
    recording = recorded(server, pcm)
    [key] = sound(s3)
    stored = s3.read(key)
    assert wave_file(stored)[1] == pcm
    assert server.stream(recording) == stored
    head = s3.client().head_object(Bucket=s3.bucket, Key=key)
    assert head["ContentType"] == "audio/wav"
