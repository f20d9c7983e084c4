"""The messages that a projector publishes: retry copies and dead letters of failed events, control requests and announcements."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from projectors.runtime.decoding import ArrivedEvent, Undecodable
from projectors.runtime.retry import Failure
from projectors.stores.port import Hold
from shared.contracts.registry import KINDS
from shared.messages.changes import ACTIVATED, Activated, ActivatedMessage
from shared.messages.control import (
    COMPARE,
    HEADS,
    HISTORY,
    MAX_COMPARED,
    MAX_STREAMS,
    PASSED,
    RESEND,
    Acted,
    AskHeads,
    CompareVersions,
    Passed,
    PassedEvent,
    ReadHistory,
    Request,
    Resend,
    StreamFrom,
)
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.acted import acted_message as reported
from shared.messaging.broker import Outgoing
from shared.observability import metrics
from shared.views.generations import Generation

_REBUILD_PREFIX: Final = "heads/rebuild/"
TEXT_LIMIT: Final = 2048
TRACE_LIMIT: Final = 16 * 1024
"""Bytes of a text in a header, and of the stack trace: all headers together must stay under 32 KiB."""


def retry_copy(projector: str, item: ArrivedEvent, tier: str) -> Outgoing:
    """A copy that returns to the event's own lane when the tier's delay has passed."""
    key = topology.private_lane_key(projector, item.event.lane)
    headers: dict[str, Any] = {topology.AUTOMATIC_HEADER: True}
    if item.epoch is not None:
        headers[topology.EPOCH_HEADER] = topology.run_of(item.epoch)
    return Outgoing(
        topology.retry_exchange(tier), key, item.body(), CONTENT_TYPE, type=item.event.type, headers=headers
    )


def dead_letter(projector: str, item: ArrivedEvent, hold: Hold, failure: Failure) -> Outgoing:
    headers = _headers(projector, failure) | {
        "tidemark-stream": item.event.stream,
        "tidemark-version": item.event.version,
        "tidemark-attempts": hold.attempts,
        "tidemark-seen": hold.seen,
        "tidemark-first-failed-at": hold.first_failed_at.isoformat(),
    }
    return Outgoing(topology.DEAD, projector, item.body(), CONTENT_TYPE, type=item.event.type, headers=headers)


def undecodable_letter(projector: str, item: Undecodable) -> Outgoing:
    return Outgoing(
        topology.DEAD, projector, item.body, "application/octet-stream", headers=_headers(projector, item.failure)
    )


def resend_requests(projector: str, wanted: Sequence[tuple[str, int]], *, automatic: bool = True) -> Iterator[Outgoing]:
    """``wanted``: (stream, first version) each. ``automatic``: sent by the projection itself, without an operator's request."""
    headers = {topology.AUTOMATIC_HEADER: True} if automatic else {}
    metrics.RESENDS.add(len(wanted), projector)
    for start in range(0, len(wanted), MAX_STREAMS):
        streams = tuple(StreamFrom(stream=s, version=v) for s, v in wanted[start : start + MAX_STREAMS])
        request = Request[Resend](
            id=f"resend/{uuid4()}",
            source=_source(projector),
            type=RESEND,
            time=datetime.now(UTC),
            data=Resend(projection=projector, streams=streams),
        )
        body = request.model_dump_json().encode()
        yield Outgoing(topology.CONTROL, topology.RESEND_KEY, body, CONTENT_TYPE, type=RESEND, headers=headers)


def heads_request(
    projector: str, lane: int, since: datetime | None, *, generation: int | None = None
) -> tuple[str, Outgoing]:
    """The request's id, and the request. ``generation``: the only one to compare, which the id then contains."""
    request_id = f"heads/{uuid4()}" if generation is None else f"{_REBUILD_PREFIX}{generation}/{uuid4()}"
    request = Request[AskHeads](
        id=request_id,
        source=_source(projector),
        type=HEADS,
        time=datetime.now(UTC),
        data=AskHeads(projection=projector, lane=lane, since=since),
    )
    body = request.model_dump_json().encode()
    return request_id, Outgoing(topology.CONTROL, topology.HEADS_KEY, body, CONTENT_TYPE, type=HEADS)


def compare_request(
    projector: str, generation: Generation, known: Sequence[str], following: str, positions: Sequence[tuple[str, int]]
) -> Iterator[Outgoing]:
    """Asks which of these streams, a page of the generation's, are ahead of the write database. ``following``: the next page's cursor,
    "" after the last."""
    if generation.moving_to is None or len(positions) > MAX_COMPARED:
        return
    request = Request[CompareVersions](
        id=f"compare/{generation.number}/{uuid4()}",
        source=_source(projector),
        type=COMPARE,
        time=datetime.now(UTC),
        data=CompareVersions(
            projection=projector,
            generation=generation.number,
            epoch=generation.moving_to,
            known=tuple(known),
            cursor=generation.compare_cursor,
            following=following,
            last=not following,
            streams=tuple(positions),
        ),
    )
    body = request.model_dump_json().encode()
    yield Outgoing(topology.CONTROL, topology.COMPARE_KEY, body, CONTENT_TYPE, type=COMPARE)


def rebuilt_generation(request_id: str) -> int | None:
    """The only generation that a request for heads is for, by the request's id; None: it is for all."""
    number, slash, _ = request_id.removeprefix(_REBUILD_PREFIX).partition("/")
    return int(number) if request_id.startswith(_REBUILD_PREFIX) and slash and number.isdecimal() else None


def history_request(
    projector: str,
    generation: int,
    after: tuple[str, int],
    limit: int,
    *,
    count: bool,
    kinds: Collection[str] = KINDS,
) -> Outgoing:
    """``kinds``: the kinds of stream to read. The request names them only if they are not all kinds: an older command service rejects
    the field."""
    stream, version = after
    request = Request[ReadHistory](
        id=f"history/{generation}/{uuid4()}",
        source=_source(projector),
        type=HISTORY,
        time=datetime.now(UTC),
        data=ReadHistory(
            projection=projector,
            generation=generation,
            after_stream=stream,
            after_version=version,
            limit=limit,
            count=count,
            kinds=None if set(KINDS) <= set(kinds) else tuple(kinds),
        ),
    )
    body = request.model_dump_json(exclude_none=True).encode()
    return Outgoing(topology.CONTROL, topology.HISTORY_KEY, body, CONTENT_TYPE, type=HISTORY)


def activated_message(projector: str, generation: int) -> Outgoing:
    """For query services: from now on this generation is read."""
    activated = ActivatedMessage(
        id=f"switched/{uuid4()}",
        source=_source(projector),
        type=ACTIVATED,
        time=datetime.now(UTC),
        data=Activated(projection=projector, generation=generation),
    )
    key, body = topology.advanced_key(projector), activated.model_dump_json().encode()
    return Outgoing(topology.CHANGES, key, body, CONTENT_TYPE, type=ACTIVATED, mandatory=False, durable=False)


def passed_message(projector: str, events: Sequence[PassedEvent]) -> Outgoing:
    """For the dead-letter worker: these events no longer hold their streams."""
    message = Request[Passed](
        id=f"passed/{uuid4()}",
        source=_source(projector),
        type=PASSED,
        time=datetime.now(UTC),
        data=Passed(projection=projector, events=tuple(events)),
    )
    body = message.model_dump_json().encode()
    return Outgoing(topology.CHANGES, topology.passed_key(projector), body, CONTENT_TYPE, type=PASSED)


def acted_message(act: Acted) -> Outgoing:
    """For the audit log, which the dead-letter worker writes."""
    return reported(act, _source(act.projection))


def _source(projector: str) -> str:
    return f"tidemark/projectors/{projector}"


def _headers(projector: str, failure: Failure) -> dict[str, Any]:
    return {
        "tidemark-origin": projector,
        "tidemark-reason": failure.reason,
        "tidemark-exception": _truncated(failure.exception),
        "tidemark-fingerprint": _truncated(failure.fingerprint),
        "tidemark-trace": _truncated(failure.trace, TRACE_LIMIT),
        "tidemark-failed-at": datetime.now(UTC).isoformat(),
    }


def _truncated(text: str, limit: int = TEXT_LIMIT) -> str:
    """The last ``limit`` bytes: a stack trace ends with the error."""
    return text.encode()[-limit:].decode(errors="ignore")
