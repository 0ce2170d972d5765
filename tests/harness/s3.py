"""A real S3 server, versitygw on a folder: started, killed, stopped for a while and started again. Read by boto3."""

import os
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import botocore.config

from .server import until

KEY, SECRET, REGION = "reeltime-test", "not-a-secret-5c2e", "us-east-1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class S3:
    """The server, its keys and one bucket. It keeps its port, so that it can come back where it was."""

    def __init__(self, home: Path, bucket: str = "recordings"):
        self.home = home
        self.bucket = bucket
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        for folder in ("objects", "metadata"):
            (home / folder).mkdir(parents=True, exist_ok=True)

    endpoint = property(lambda self: f"http://127.0.0.1:{self.port}")

    def start(self) -> "S3":
        """Start (again) and wait until it answers."""
        gateway = shutil.which("versitygw")
        assert gateway, "missing: versitygw. Run ./scripts/test, which builds it."
        with (self.home / "versitygw.log").open("ab") as log:
            self.process = subprocess.Popen(
                [gateway, "--port", f"127.0.0.1:{self.port}", "--health", "/health", "--quiet"]
                + ["posix", "--sidecar", str(self.home / "metadata"), str(self.home / "objects")],
                env=os.environ | {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until("versitygw", self._answers)
        if not (self.home / "objects" / self.bucket).exists():
            self.client().create_bucket(Bucket=self.bucket)
        return self

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.home / "versitygw.log").read_text()
        try:
            return urllib.request.urlopen(f"{self.endpoint}/health", timeout=1).status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def kill(self) -> None:
        """As a power switch does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Whatever state it is in."""
        if self.process and self.process.poll() is None:
            self.resume()
            self.process.terminate()
            self.process.wait(10)

    def suspend(self) -> None:
        """It takes connections and says nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def url(self, prefix: str = "") -> str:
        return f"s3://{self.bucket}/{prefix}"

    def settings(self, prefix: str = "", **others: str) -> dict[str, str]:
        """What a server needs in its environment to record into this; `others` come over it."""
        return {
            "REELTIME_STORE_URL": self.url(prefix),
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
        } | others

    def client(self):
        """Another people's client, as root."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name=REGION,
            config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def objects(self, prefix: str = "") -> dict[str, int]:
        """Every key below `prefix` and its size."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}

    def read(self, key: str) -> bytes:
        return self.client().get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def uploads(self) -> list[str]:
        """Keys of uploads in parts that are neither completed nor aborted."""
        return [each["Key"] for each in self.client().list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])]
