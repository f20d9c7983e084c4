"""Spans of senders of commands: a command that is sent begins a trace, which links to what caused the command."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

from shared.messaging import topology
from shared.observability import trace_names as names
from shared.observability import tracing
from shared.observability.spans import Recorder, Span, SpanKind, fail, traceparent_of, unsampled_traceparent

T = TypeVar("T")

NAME: Final = f"{names.SEND} {topology.COMMANDS}"


@contextmanager
def command_spans(commands: Iterable[tuple[str, str, str | None]]) -> Iterator[Mapping[str, str]]:
    """A span for each of these commands, (id, type, cause), whose cause is the ``traceparent`` of a trace that is recorded.

    Returns the ``traceparent`` of these, by id. The spans end with the block, as failed if it raises.
    """
    recorder = tracing.recorder
    found: dict[str, Span] = {}
    if recorder is not None:
        for id_, type_, cause in commands:
            if cause is not None and tracing.is_sampled(cause):
                found[id_] = _begin(recorder, id_, type_, [cause])
    yield from _until_sent(found, {id_: traceparent_of(span) for id_, span in found.items()})


@contextmanager
def first_command_span(id_: str, type_: str) -> Iterator[str | None]:
    """The ``traceparent`` for a command that nothing has caused; None: this process records no traces."""
    recorder = tracing.recorder
    if recorder is None:
        yield None
    elif not recorder.is_drawn():
        yield unsampled_traceparent()
    else:
        span = _begin(recorder, id_, type_, [])
        yield from _until_sent({id_: span}, traceparent_of(span))


def _begin(recorder: Recorder, id_: str, type_: str, links: Iterable[str]) -> Span:
    attributes = {
        **names.SENDING,
        names.DESTINATION: topology.COMMANDS,
        names.ROUTING_KEY: type_,
        names.MESSAGE_ID: id_,
        names.COMMAND_TYPE: type_,
    }
    return recorder.begin(NAME, SpanKind.PRODUCER, attributes, links=links)


def _until_sent(spans: Mapping[str, Span], given: T) -> Iterator[T]:
    try:
        yield given
    except BaseException as error:
        for span in spans.values():
            fail(span, type(error).__name__)
        raise
    finally:
        for span in spans.values():
            span.end()
