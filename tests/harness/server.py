"""A real server process: started, watched, killed and started again on the same data folder."""

import http.client
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import requests

BINARY = os.environ.get("REELTIME_BIN") or str(Path(__file__).parents[2] / "target/debug/reeltime")
_OURS = ("REELTIME_", "OTEL_", "BACKEND_RECORD", "ENABLE_", "AWS_", "BLOB_", "VERCEL_BLOB_", "S3_", "RECORDING_", "VOXRAY_")


def until(what: str, check, seconds: float = 15.0, every: float = 0.01):
    """The first true answer of `check`, asked again and again; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"after {seconds} s still waiting for {what}"
        time.sleep(every)


def clean_environment(**settings: str) -> dict[str, str]:
    """This process's environment without any setting of the server, and with `settings`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return kept | {"RUST_BACKTRACE": "1"} | settings


def run_reeltime(*arguments: str, cwd: Path, seconds: float = 20.0, **settings: str) -> subprocess.CompletedProcess:
    """Run the command to its end."""
    return subprocess.run(
        [BINARY, *arguments],
        cwd=cwd,
        env=clean_environment(**settings),
        stdin=subprocess.DEVNULL,
        timeout=seconds,
        capture_output=True,
        text=True,
    )


def as_root(*command: str) -> None:
    subprocess.run([*(() if os.getuid() == 0 else ("sudo", "-n")), *command], check=True)


def of_tracks(recording: dict, name: str) -> list[dict]:
    """All gaps, pauses or marks of a recording, track by track."""
    return [each for track in recording["tracks"] for each in track[name]]


def on_disk(server: "Server", audio: bytes, window: int = 2_048) -> list[Path]:
    """The files under the server's folder that hold any stretch of `audio`, looked for every `window` bytes."""
    stretches = [audio[at : at + 64] for at in range(0, len(audio) - 64, window)]
    stretches = [stretch for stretch in stretches if any(stretch)]
    # The zeros are what the server keeps in reserve: megabytes of nothing.
    contents = {path: path.read_bytes().strip(b"\0") for path in server.home.rglob("*") if path.is_file()}
    return [path for path, content in contents.items() if any(stretch in content for stretch in stretches)]


class Server:
    """`reeltime serve` on a free port and a data folder of its own.

    `prefix` is put before the command (strace); `settings` are environment variables.
    """

    def __init__(
        self, home: Path, *arguments: str, data_dir: Path | None = None, prefix: tuple[str, ...] = (), **settings: str
    ):
        self.home = home
        self.data_dir = data_dir or home / "data"
        self.arguments = arguments
        self.prefix = prefix
        self.settings = settings
        self.process: subprocess.Popen | None = None
        self.runs = 0
        home.mkdir(parents=True, exist_ok=True)

    def start(self, port: int = 0) -> "Server":
        """Start (again), wait until the address is printed and the server is ready. Port 0 is any free one."""
        self.runs += 1
        command = [
            *self.prefix,
            BINARY,
            "serve",
            "--listen",
            f"127.0.0.1:{port}",
            "--data-dir",
            str(self.data_dir),
            *self.arguments,
        ]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.home,
                env=clean_environment(**self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.port = int(until(f"an address in\n{self.log_path}", self._printed_port)[1])
        until("/readyz", lambda: self.get("/readyz").status_code == 200)
        return self

    @property
    def log_path(self) -> Path:
        return self.home / f"server-{self.runs}.log"

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def _printed_port(self):
        assert self.process.poll() is None, f"the server exited with {self.process.returncode}:\n{self.log()}"
        return re.search(r"http://127\.0\.0\.1:(\d+)", self.log())

    @property
    def pid(self) -> int:
        """Of the server itself, also where it runs under another command."""
        if not self.prefix:
            return self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        # None where that command has become the server.
        return int(children[0]) if children else self.process.pid

    def kill(self) -> None:
        """As a power switch does: no chance to tidy up."""
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 20.0) -> int:
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(seconds)

    def stop(self) -> None:
        """At the end of a test, whatever state it is in."""
        if self.process and self.process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def request(self, method: str, path: str, **options) -> requests.Response:
        options.setdefault("timeout", 20)
        return requests.request(method, path if path.startswith("http") else self.url(path), **options)

    def get(self, path: str, **options) -> requests.Response:
        return self.request("GET", path, **options)

    def raw(self, method: str, target: str) -> tuple[int, dict[str, str], bytes]:
        """A request whose target goes out exactly as it is, where `requests` would tidy it up."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, target)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def recording(self, recording_id: str) -> dict:
        """Its details as the API tells them."""
        answer = self.get(f"/api/v1/recordings/{recording_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def recordings(self, **query) -> list[dict]:
        answer = self.get("/api/v1/recordings/", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]

    def completed(self, recording_id: str, seconds: float = 15.0) -> dict:
        """Its details once it is complete."""

        def finished():
            details = self.recording(recording_id)
            assert details["state"] != "failed", details
            return details if details["state"] in ("complete", "completed") else None

        return until(f"recording {recording_id} to be complete", finished, seconds)

    def stream(self, recording_id: str, **query) -> bytes:
        """What is there of the recording now, as a file."""
        answer = self.get(f"/api/v1/recordings/{recording_id}/stream", params=query)
        assert answer.status_code == 200, answer.text
        return answer.content

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 where it has not been counted yet."""
        pattern = re.compile(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", re.MULTILINE)
        return sum(float(value) for value in pattern.findall(self.get("/metrics").text))
