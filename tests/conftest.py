"""Servers for the tests: one that a worker's tests share, and fresh ones for tests that hurt theirs."""

import itertools
import shutil

import pytest
from harness import judges
from harness.s3 import SERVER
from harness.server import BINARY, Server

TOOLS = (
    BINARY,
    "ffmpeg",
    "ffprobe",
    "sox",
    "soxi",
    "opusenc",
    "opusinfo",
    "mediainfo",
    "flac",
    "espeak-ng",
    "strace",
    "node",
    "websocat",
    "versitygw",
    "chromium",
)


def pytest_addoption(parser):
    parser.addoption("--lost-calls", type=int, default=20, help="calls under which a machine is lost")
    parser.addoption("--outage", type=float, help="seconds for which the store fails, in each way")
    parser.addoption("--kills", type=int, default=20, help="how often the loop kills the server")
    parser.addoption("--terms", type=int, default=5, help="how often the loop stops the server")
    parser.addoption("--fills", type=int, default=2, help="how often the loop fills the disk")


def pytest_sessionstart():
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        pytest.exit(f"missing: {', '.join(missing)}. Run ./scripts/test, which installs them.", returncode=2)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server on its defaults, shared: a test finds its own recordings by their ids and calls."""
    shared = Server(tmp_path_factory.mktemp("server")).start()
    yield shared
    shared.stop()


@pytest.fixture
def new_server(tmp_path):
    """Makes servers of this test alone: `new_server("--flag", SETTING="value")`, not started yet."""
    made = []
    numbers = itertools.count(1)

    def make(*arguments, **options):
        made.append(Server(tmp_path / f"server-{next(numbers)}", *arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def s3(tmp_path):
    """An S3 of this test alone, running, with an empty bucket: `new_server(**s3.settings("prefix"))` records into it."""
    gateway = SERVER(tmp_path / "s3").start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="session")
def speech():
    """About four seconds of speech as 16 kHz mono s16le."""
    return judges.espeak("The quick brown fox jumps over the lazy dog, and every word of it is kept.")
