"""Messages that the dead-letter worker publishes: resend, inquire and step-over requests, and dead commands again. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from projectors.dead_letters.letters.letter import COMMANDS
from shared.messages.control import (
    INQUIRE,
    MAX_STREAMS,
    RESEND,
    STEP_OVER,
    Inquire,
    Request,
    Resend,
    StepOver,
    StreamFrom,
)
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import Outgoing

SOURCE: Final = "tidemark/dead_letters"


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event that is, or was, a dead letter of a projection."""

    origin: str
    stream: str
    version: int


@dataclass(frozen=True, slots=True)
class DeadCommand:
    """A dead command as it is published to ``commands`` again."""

    body: bytes
    content_type: str
    routing_key: str
    reply_to: str | None
    correlation_id: str | None
    sender: str | None = None
    """The user that has sent it, empty where it did not say; None: an operator sends it, or it was dead before users were recorded."""


def resends(events: Iterable[HeldEvent], request_id: str, now: datetime) -> Iterator[Outgoing]:
    """Requests to resend these streams from these events on, in as few messages as possible."""
    for origin, streams in _by_origin(events):
        data = Resend(projection=origin, streams=streams)
        yield _request(topology.RESEND_KEY, Request[Resend](**_envelope(RESEND, request_id, now), data=data))


def inquiries(events: Iterable[HeldEvent], request_id: str, now: datetime) -> Iterator[Outgoing]:
    """Requests to projections to report which of these events they have passed."""
    for origin, streams in _by_origin(events):
        data = Inquire(projection=origin, events=streams)
        envelope = Request[Inquire](**_envelope(INQUIRE, request_id, now), data=data)
        yield _request(topology.inquire_key(origin), envelope)


def step_over(event: HeldEvent, actor: str, reason: str, request_id: str, now: datetime) -> Outgoing:
    data = StepOver(projection=event.origin, stream=event.stream, version=event.version, actor=actor, reason=reason)
    envelope = Request[StepOver](**_envelope(STEP_OVER, request_id, now), data=data)
    return _request(topology.discard_key(event.origin), envelope)


def command(dead: DeadCommand, headers: Mapping[str, str] | None = None) -> Outgoing:
    return Outgoing(
        exchange=topology.COMMANDS,
        routing_key=dead.routing_key,
        body=dead.body,
        content_type=dead.content_type or CONTENT_TYPE,
        reply_to=dead.reply_to,
        correlation_id=dead.correlation_id,
        headers={**(headers or {}), **({} if dead.sender is None else {topology.SENDER_HEADER: dead.sender})},
    )


def _by_origin(events: Iterable[HeldEvent]) -> Iterator[tuple[str, tuple[StreamFrom, ...]]]:
    """The distinct events by projection, at most MAX_STREAMS in one batch."""
    found: dict[str, list[StreamFrom]] = defaultdict(list)
    for event in dict.fromkeys(events):
        if event.origin != COMMANDS:
            found[event.origin].append(StreamFrom(stream=event.stream, version=event.version))
    for origin, streams in found.items():
        for batch in _batches(streams):
            yield origin, tuple(batch)


def _batches(streams: Sequence[StreamFrom]) -> Iterator[Sequence[StreamFrom]]:
    for start in range(0, len(streams), MAX_STREAMS):
        yield streams[start : start + MAX_STREAMS]


def _envelope(kind: str, request_id: str, now: datetime) -> dict[str, object]:
    return {"id": request_id, "source": SOURCE, "type": kind, "time": now}


def _request(key: str, envelope: Request[Any]) -> Outgoing:
    return Outgoing(topology.CONTROL, key, envelope.model_dump_json().encode(), CONTENT_TYPE, type=envelope.type)
