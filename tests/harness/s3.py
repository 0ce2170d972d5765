"""A real S3 server on a folder: started, killed, stopped for a while and started again. Read by boto3.

versitygw; Garage where `REELTIME_TEST_SERVER=garage`. `python -m harness.s3 COMMAND` runs a command beside one, whose
address and keys it finds in `REELTIME_TEST_S3`, in the variables of AWS, and in those of `reeltime bench`.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import botocore.config

from .server import until

def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class S3:
    """The server, its keys and one bucket. It keeps its port, so that it can come back where it was."""

    key, secret, region = "reeltime-test", "not-a-secret-5c2e", "us-east-1"
    honours_conditions = True

    def __init__(self, home: Path, bucket: str = "recordings"):
        self.home = home
        self.bucket = bucket
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        for folder in ("objects", "metadata", "users"):
            (home / folder).mkdir(parents=True, exist_ok=True)

    endpoint = property(lambda self: f"http://127.0.0.1:{self.port}")
    health = property(lambda self: f"{self.endpoint}/health")

    def command(self) -> tuple[list[str], dict[str, str]]:
        """What runs it, and its environment."""
        listen = ["--port", f"127.0.0.1:{self.port}", "--health", "/health", "--quiet"]
        users = ["--iam-dir", str(self.home / "users")]
        folders = ["posix", "--sidecar", str(self.home / "metadata"), str(self.home / "objects")]
        keys = {"ROOT_ACCESS_KEY": self.key, "ROOT_SECRET_KEY": self.secret}
        return ["versitygw", *listen, *users, *folders], keys

    def start(self) -> "S3":
        """Start (again) and wait until it answers."""
        command, environment = self.command()
        assert shutil.which(command[0]), f"missing: {command[0]}. Run ./scripts/test, which builds it."
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(command[0], self._answers)
        if self.bucket not in [bucket["Name"] for bucket in self.client().list_buckets()["Buckets"]]:
            self.client().create_bucket(Bucket=self.bucket)
        return self

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.home / "server.log").read_text()
        try:
            return urllib.request.urlopen(self.health, timeout=1).status == 200
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
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                # Garage waits for connections that are kept alive.
                self.kill()

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
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": self.region,
        } | others

    def user(self, key: str, secret: str, *allowed: str) -> dict[str, str]:
        """A user who may do only this with the bucket and what is in it; what a server needs to be that user."""
        admin = ["versitygw", "admin", "--access", self.key, "--secret", self.secret, "--endpoint-url", self.endpoint]
        subprocess.run([*admin, "create-user", "--access", key, "--secret", secret, "--role", "user"], check=True)
        bucket = f"arn:aws:s3:::{self.bucket}"
        statements = [
            {
                "Effect": "Allow",
                "Principal": [key],
                "Action": action,
                "Resource": bucket if action == "s3:ListBucket" else f"{bucket}/*",
            }
            for action in allowed
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.client().put_bucket_policy(Bucket=self.bucket, Policy=policy)
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}

    def client(self):
        """Another people's client, as root."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name=self.region,
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

    def unfinished(self) -> int:
        """Bytes that the store holds for such uploads."""
        client, held = self.client(), 0
        for each in client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []):
            named = {"Bucket": self.bucket, "Key": each["Key"], "UploadId": each["UploadId"]}
            with contextlib.suppress(client.exceptions.NoSuchUpload):
                held += sum(part["Size"] for part in client.list_parts(**named).get("Parts", []))
        return held


class Garage(S3):
    """It takes conditions and ignores them, as several stores do."""

    key, secret, region = "GK" + "5c2e" * 6, "5c2e" * 16, "garage"
    honours_conditions = False

    def __init__(self, home: Path, bucket: str = "recordings"):
        super().__init__(home, bucket)
        self.rpc, self.admin = free_port(), free_port()

    health = property(lambda self: f"http://127.0.0.1:{self.admin}/health")

    def command(self) -> tuple[list[str], dict[str, str]]:
        settings = self.home / "garage.toml"
        settings.write_text(
            f"""
metadata_dir = "{self.home}/metadata"
data_dir = "{self.home}/objects"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{self.rpc}"
rpc_public_addr = "127.0.0.1:{self.rpc}"
rpc_secret = "{"0f" * 32}"
[s3_api]
s3_region = "{self.region}"
api_bind_addr = "127.0.0.1:{self.port}"
[admin]
api_bind_addr = "127.0.0.1:{self.admin}"
admin_token = "x"
"""
        )
        keys = {
            "GARAGE_DEFAULT_ACCESS_KEY": self.key,
            "GARAGE_DEFAULT_SECRET_KEY": self.secret,
            "GARAGE_DEFAULT_BUCKET": self.bucket,
        }
        return ["garage", "-c", str(settings), "server", "--single-node", "--default-bucket"], keys


SERVER = Garage if os.environ.get("REELTIME_TEST_SERVER") == "garage" else S3


def main(command: list[str]) -> int:
    """Run a command beside a server of its own; the command's exit status."""
    with tempfile.TemporaryDirectory() as home:
        server = SERVER(Path(home)).start()
        fields = server.endpoint, server.region, server.bucket, server.key, server.secret
        environment = {
            "REELTIME_TEST_S3": ",".join(fields),
            "REELTIME_BENCH_STORE_URL": f"s3://{server.bucket}",
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_REGION": server.region,
            "AWS_ACCESS_KEY_ID": server.key,
            "AWS_SECRET_ACCESS_KEY": server.secret,
        }
        try:
            return subprocess.run(command, env=os.environ | environment).returncode
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
