"""Recording spans, with the API of OpenTelemetry only.

A span has its parent, or the spans that it links to, as a ``traceparent``: as they come in messages.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.observability.trace_names import ERROR_TYPE

__all__ = ["MAX_LINKS", "Attributes", "Recorder", "Span", "SpanKind"]

MAX_LINKS: Final = 32
"""The most spans that one links to."""
Attributes = Mapping[str, str | int | float | bool]
_W3C: Final = TraceContextTextMapPropagator()


class Recorder:
    """A span is begun only after asking whether its trace is recorded: by ``tracing.is_sampled``, or ``is_drawn`` for a new one."""

    def __init__(
        self,
        tracer: Tracer,
        ratio: float,
        close: Callable[[], None],
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """``ratio``: the share of the traces that begin here to be recorded. ``close`` sends what is queued."""
        self._tracer = tracer
        self._ratio = ratio
        self._draw = draw
        self.close = close

    def is_drawn(self) -> bool:
        """Whether to record a trace that begins here: cheaper by far than a span that its sampler drops."""
        return self._draw() < self._ratio

    def begin(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        *,
        parent: str | None = None,
        links: Iterable[str] = (),
        at_ns: int | None = None,
    ) -> Span:
        """A span that began now, or ``at_ns`` (since 1970). ``parent``: None: a new trace."""
        context = Context() if parent is None else _W3C.extract({"traceparent": parent}, Context())
        return self._tracer.start_span(
            name, context, kind, attributes=attributes, links=list(_links(links)), start_time=at_ns
        )

    def record(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        *,
        parent: str | None = None,
        links: Iterable[str] = (),
        at_ns: int,
        error: str | None = None,
    ) -> None:
        """A span that began ``at_ns`` and ends now. ``error``: see ``fail``."""
        span = self.begin(name, kind, attributes, parent=parent, links=links, at_ns=at_ns)
        if error is not None:
            fail(span, error)
        span.end()


def fail(span: Span, error: str) -> None:
    """``error``: a stable word, or the name of a class; never a text that may have data."""
    span.set_attribute(ERROR_TYPE, error)
    span.set_status(StatusCode.ERROR, error)


def traceparent_of(span: Span) -> str:
    """For a message whose processing is to be a child of this span."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, set_span_in_context(span, Context()))
    return carrier["traceparent"]


def unsampled_traceparent() -> str:
    """A new trace that is not recorded: so that no later process begins one for the same command."""
    return f"00-{random.getrandbits(128) or 1:032x}-{random.getrandbits(64) or 1:016x}-00"


def _links(traceparents: Iterable[str]) -> Iterator[Link]:
    for traceparent in islice(dict.fromkeys(traceparents), MAX_LINKS):
        found = get_current_span(_W3C.extract({"traceparent": traceparent}, Context())).get_span_context()
        if found.is_valid:
            yield Link(found)
