"""The commands that talk to a server, through a proxy that speaks TLS as one in front of a server does."""

import json
import socket
import ssl
import threading

import pytest
from harness import judges
from harness.oracle import indexed_pcm
from harness.server import run_reeltime

RATE = 16_000


def pour(source, sink):
    """Everything that comes, until either side is gone."""
    try:
        while data := source.recv(65_536):
            sink.sendall(data)
    except OSError:
        pass
    for each in (source, sink):
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Proxy:
    """TLS on a port of its own, plain bytes to the server behind it."""

    def __init__(self, behind: int, certificate, key):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.context, self.behind = context, behind
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def serve(self, plain):
        try:
            outside = self.context.wrap_socket(plain, server_side=True)
        except OSError:
            return
        inside = socket.create_connection(("127.0.0.1", self.behind))
        threading.Thread(target=pour, args=(inside, outside), daemon=True).start()
        pour(outside, inside)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A private authority's certificate, and one for localhost that it has signed, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    ca, ca_key, certificate, key = (folder / name for name in ("ca.pem", "ca.key", "localhost.pem", "localhost.key"))
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    request = ("openssl", "req", "-x509", *curve, "-nodes", "-days", "2")
    judges.run(*request, "-subj", "/CN=reeltime test authority", "-keyout", str(ca_key), "-out", str(ca))
    extensions = ("-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE")
    names = ("-subj", "/CN=localhost", *extensions)
    judges.run(*request, *names, "-CA", str(ca), "-CAkey", str(ca_key), "-keyout", str(key), "-out", str(certificate))
    return ca, certificate, key


@pytest.fixture
def proxy(server, authority):
    proxy = Proxy(server.port, *authority[1:])
    yield proxy
    proxy.listener.close()


def test_a_call_is_sent_listed_and_fetched_through_tls(server, proxy, authority, tmp_path):
    to = ("--to", f"https://localhost:{proxy.port}", "--ca", str(authority[0]))
    pcm = indexed_pcm("tls", 2 * RATE)
    (tmp_path / "tls.raw").write_bytes(pcm)
    socket_url = f"wss://localhost:{proxy.port}/v1/ingest/pcm"
    sending = ("tls.raw", "--rate", str(RATE), "--fast", "--json", "--to", socket_url, *to[2:])
    sent = run_reeltime("send", *sending, cwd=tmp_path)
    assert sent.returncode == 0, sent.stderr
    (recording,) = json.loads(sent.stdout)["recordings"]
    server.completed(recording)
    listed = run_reeltime("ls", "--json", *to, cwd=tmp_path)
    assert recording in [item["id"] for item in json.loads(listed.stdout)["items"]], listed.stderr
    fetched = run_reeltime("export", recording, "-o", "out.wav", *to, cwd=tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    assert judges.data_of((tmp_path / "out.wav").read_bytes()) == pcm
    status = run_reeltime("store", "status", "--json", *to, cwd=tmp_path)
    assert status.returncode == 0 and json.loads(status.stdout)["place"], status.stderr


def test_who_is_not_vouched_for_is_not_talked_to(proxy, authority, tmp_path):
    stranger = run_reeltime("ls", "--to", f"https://localhost:{proxy.port}", cwd=tmp_path)
    assert stranger.returncode == 1 and "--ca" in stranger.stderr
    ca = ("--ca", str(authority[0]))
    other_name = run_reeltime("ls", "--to", f"https://127.0.0.1:{proxy.port}", *ca, cwd=tmp_path)
    assert other_name.returncode == 1 and "certificate" in other_name.stderr
    plain = run_reeltime("ls", "--to", f"https://localhost:{proxy.behind}", *ca, cwd=tmp_path)
    assert plain.returncode == 1 and "no TLS with" in plain.stderr
