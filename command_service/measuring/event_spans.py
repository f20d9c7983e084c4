"""A span for each event that the relay publishes and whose trace is recorded, and one for a page of events that it sends again."""

import re
from collections.abc import Sequence
from typing import Final

from pydantic_core import from_json

from command_service.publishing.packing import Row, RowBatch
from shared.messages.trace_context import trace_parent
from shared.messaging import topology
from shared.observability import trace_names as names
from shared.observability.spans import Attributes, Recorder, SpanKind
from shared.observability.tracing import is_sampled

SEND: Final = f"{names.SEND} {topology.EVENTS}"
RESEND: Final = f"{names.RESEND} {topology.EVENTS}"
_KEY: Final = '"traceparent":'
_PATTERN: Final = re.compile(r'"traceparent":\s*"([^"\\]{55})"')


def sampled_traceparent(envelope: str) -> str | None:
    """That of an event whose trace is recorded, without parsing the event."""
    if _KEY not in envelope:
        return None
    found = _PATTERN.search(envelope)
    valid = trace_parent(found[1]) if found is not None else None
    return valid if is_sampled(valid) else None


def record_published(
    recorder: Recorder, batches: Sequence[RowBatch], errors: Sequence[BaseException | None], began_ns: int
) -> None:
    """``errors``: of each batch, None where it was confirmed."""
    for batch, error in zip(batches, errors, strict=True):
        for row in batch.rows:
            parent = sampled_traceparent(row.envelope)
            if parent is not None:
                attributes: Attributes = {
                    **names.SENDING,
                    names.DESTINATION: topology.EVENTS,
                    names.ROUTING_KEY: topology.lane_key(batch.lane),
                    names.MESSAGE_ID: from_json(row.envelope)["id"],
                    names.STREAM: row.stream,
                }
                recorder.record(
                    SEND,
                    SpanKind.CLIENT,
                    attributes,
                    parent=parent,
                    at_ns=began_ns,
                    error=None if error is None else type(error).__name__,
                )


def record_resent(recorder: Recorder, projection: str, rows: Sequence[Row], began_ns: int) -> None:
    links = [found for row in rows if (found := sampled_traceparent(row.envelope)) is not None]
    if links:
        attributes: Attributes = {
            **names.RESENDING,
            names.DESTINATION: topology.EVENTS,
            names.PROJECTION: projection,
            names.BATCH_COUNT: len(rows),
        }
        recorder.record(RESEND, SpanKind.CLIENT, attributes, links=links, at_ns=began_ns)
