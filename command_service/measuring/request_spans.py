"""A span for each command over HTTP whose trace is recorded: the sender's, or one that begins here."""

from collections.abc import Awaitable, Callable
from typing import Final

from litestar import Response

from shared.http.problems import Problem
from shared.messages.envelope import CommandEnvelope
from shared.observability import trace_names as names
from shared.observability import tracing
from shared.observability.spans import SpanKind, fail, traceparent_of, unsampled_traceparent

_ROUTE: Final = "/commands/{command_type}"

Send = Callable[[CommandEnvelope], Awaitable[Response[bytes]]]


async def send_traced(envelope: CommandEnvelope, send: Send) -> Response[bytes]:
    """Send the command, with the span's context as its ``traceparent``. Raises what ``send`` raises."""
    recorder, before = tracing.recorder, envelope.traceparent
    if recorder is None:
        return await send(envelope)
    if not (recorder.is_drawn() if before is None else tracing.is_sampled(before)):
        # Else the worker would draw again.
        return await send(envelope if before is not None else _with(envelope, unsampled_traceparent()))
    attributes = {
        names.METHOD: "POST",
        names.ROUTE: _ROUTE,
        names.MESSAGE_ID: envelope.id,
        names.COMMAND_TYPE: envelope.type,
        names.COMMAND_SOURCE: envelope.source,
    }
    span = recorder.begin(f"POST {_ROUTE}", SpanKind.SERVER, attributes, parent=before)
    status = 500
    try:
        response = await send(_with(envelope, traceparent_of(span)))
        status = response.status_code or 200
    except Problem as problem:
        status = problem.status
        raise
    else:
        return response
    finally:
        span.set_attribute(names.STATUS, status)
        if status >= 500:
            fail(span, str(status))
        span.end()


def _with(envelope: CommandEnvelope, traceparent: str) -> CommandEnvelope:
    return envelope.model_copy(update={"traceparent": traceparent})
