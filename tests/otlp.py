"""A receiver of traces: OTLP over HTTP, in a thread of its own, which keeps the spans that arrive."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

WITHIN_S = 30.0


@dataclass(frozen=True)
class ReceivedSpan:
    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    """The traces that it links to."""
    linked: tuple[str, ...]
    """The spans that it links to."""
    attributes: dict[str, Any]
    failed: bool
    seconds: float


@dataclass
class Receiver:
    port: int = 0
    spans: list[ReceivedSpan] = field(default_factory=list)
    requests: int = 0
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def settings(self, ratio: float = 0.0) -> dict[str, str]:
        """With which a deployable sends its traces here, soon."""
        return {
            "TIDEMARK_TRACES": "on",
            "TIDEMARK_TRACES_RATIO": str(ratio),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }

    def of(self, trace: str) -> list[ReceivedSpan]:
        with self.arrived:
            return [span for span in self.spans if span.trace == trace]

    def linking(self, trace: str) -> list[ReceivedSpan]:
        """Spans of other traces that link to this one."""
        with self.arrived:
            return [span for span in self.spans if trace in span.links]

    def wait(self, found: Callable[[], Any]) -> Any:
        """What ``found`` returns, as soon as it is true. Raises TimeoutError. Call it in a thread."""
        deadline = time.monotonic() + WITHIN_S
        with self.arrived:
            while not (result := found()):
                if not self.arrived.wait(max(0.0, deadline - time.monotonic())):
                    names = sorted({(span.service, span.name) for span in self.spans})
                    raise TimeoutError(f"not among the {len(self.spans)} spans that arrived: {names}")
            return result

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        received = list(_spans(request))
        with self.arrived:
            self.requests += 1
            self.spans += received
            self.arrived.notify_all()


@contextmanager
def receiver() -> Iterator[Receiver]:
    found = Receiver(arrived=threading.Condition(threading.RLock()))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                found.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sampled(flags: str = "01") -> tuple[str, str]:
    """A trace that a sender has begun: its id, and the ``traceparent``."""
    trace = uuid4().hex
    return trace, f"00-{trace}-{uuid4().hex[:15]}1-{flags}"


def _spans(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes)["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield ReceivedSpan(
                    service,
                    span.name,
                    Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    tuple(link.trace_id.hex() for link in span.links),
                    tuple(link.span_id.hex() for link in span.links),
                    _values(span.attributes),
                    span.status.code == Status.STATUS_CODE_ERROR,
                    (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                )


def _values(attributes: Sequence[Any]) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")
