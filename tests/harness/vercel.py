"""Vercel Blob: the service of our own tests as a process, and Vercel's own client, `@vercel/blob`, to judge both sides."""

import base64
import json
import os
import subprocess
from pathlib import Path

from .clients import CLIENTS
from .server import BINARY


class VercelBlob:
    """The service, an empty store, on a free port."""

    def __init__(self, access: str):
        program = Path(BINARY).parent / "examples/vercel_fake"
        assert program.exists(), f"missing: {program}. cargo test builds it."
        self.access = access
        self.process = subprocess.Popen(
            [program, access], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        self.api_url, self.token = self.process.stdout.readline().split()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def settings(self, prefix: str = "", **others: str) -> dict[str, str]:
        """What a server needs in its environment to record into this; `others` come over it."""
        return {
            "REELTIME_STORE_URL": f"vercel-blob:///{prefix}",
            "REELTIME_VERCEL_ACCESS": self.access,
            "BLOB_READ_WRITE_TOKEN": self.token,
            "VERCEL_BLOB_API_URL": self.api_url,
        } | others

    def client(self, task: str) -> str:
        """Runs a task of clients/vercel_blob.mjs; what it printed."""
        done = subprocess.run(
            ["node", "vercel_blob.mjs", task, self.access],
            cwd=CLIENTS,
            env=os.environ | {"VERCEL_BLOB_RETRIES": "0"} | self.settings(),
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self) -> dict[str, tuple[str, bytes]]:
        """Every pathname with its content type and bytes, as `@vercel/blob` reads them."""
        found = {}
        for pathname, each in json.loads(self.client("read")).items():
            found[pathname] = (each["contentType"], base64.b64decode(each["base64"]))
            assert len(found[pathname][1]) == each["size"]
        return found
