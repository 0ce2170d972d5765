"""A collector of traces: takes OTLP over HTTP, and reads it with OpenTelemetry's own definitions."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from .server import until

SERVER, CLIENT, ERROR = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Status.STATUS_CODE_ERROR


class Collector:
    """On a free port. `status` is what it answers; `headers` are those of the last batch."""

    def __init__(self):
        self.status = 200
        self.headers = {}
        self.services = set()
        self._spans = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if collector.status == 200:
                    assert self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
                    collector._take(ExportTraceServiceRequest.FromString(body))
                collector.headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(collector.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, batch) -> None:
        for resource in batch.resource_spans:
            said = resource.resource.attributes
            self.services |= {each.value.string_value for each in said if each.key == "service.name"}
            self._spans += [span for scope in resource.scope_spans for span in scope.spans]

    def spans(self, name: str, **wanted) -> list[Span]:
        """Those of this name that have these attributes."""
        named = [span for span in self.all() if span.name == name]
        return [span for span in named if wanted.items() <= attributes(span).items()]

    def span(self, name: str, **wanted) -> Span:
        """The first of these, once it is there."""
        return until(f"a span {name} {wanted}", lambda: self.spans(name, **wanted))[0]

    def all(self) -> list[Span]:
        return list(self._spans)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def attributes(span: Span) -> dict:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
