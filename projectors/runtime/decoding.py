"""Decodes deliveries into events. What cannot be decoded becomes a separate failure and does not affect the other events.

Events of kinds of stream that the projection does not read are skipped, whether they can be decoded or not. A message whose header
names no other kinds is skipped without a look at its body.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from projectors.runtime.fast_decoding import EVERY_KIND, element_of, events_in
from projectors.runtime.retry import Failure, failure_of
from projectors.stores.port import Event
from shared.contracts.registry import UnknownEventError, event_data
from shared.contracts.values import EventData, SafeText
from shared.messages.envelope import EnvelopeError, ReceivedEvent, split
from shared.messages.lanes import HEADS, HEARTBEAT, Heads, Heartbeat
from shared.messaging.consuming import Delivery
from shared.messaging.topology import AUTOMATIC_HEADER, EPOCH_HEADER, KINDS_HEADER, epoch_of, kinds_of, lane_of
from shared.read_models import is_of

UNDECODABLE: Final = "undecodable-event"
UNKNOWN: Final = "unknown-type"
"""The reason of an event whose type or schema version only newer code knows."""
UNTIMED: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands in for the time of an event whose envelope cannot be read."""


class Unreadable(EventData, frozen=True):
    """Stands in for the data of an event whose type, schema version or data cannot be decoded."""


class Place(BaseModel):
    """The fields that an event needs at least to have a place in a stream."""

    model_config = ConfigDict(extra="ignore")

    type: Annotated[SafeText, Field(max_length=200)] = ""
    subject: Annotated[SafeText, Field(min_length=1, max_length=300)]
    streamversion: Annotated[int, Field(strict=True, ge=1, le=2**53 - 1)]


class ArrivedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event with a place in a stream. ``failure``: its envelope or its data cannot be decoded, so its stream stops here."""

    event: Event
    element: Any
    """The envelope as plain JSON; with ``at``: the message it came in."""
    failure: Failure | None = None
    epoch: str | None = None
    """The epoch of the write database that it came from, if the message has one."""
    at: int | None = None
    """Its index in the message; its bytes are extracted only by ``body``."""
    automatic: bool = False
    """Whether it was sent without an operator's request: AUTOMATIC_HEADER."""

    def body(self) -> bytes:
        """The envelope, to send on: the received bytes if the fast decoder decoded it, else encoded again."""
        return to_json(self.element) if self.at is None else element_of(self.element, self.at)


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A message, or an element of one, that names no stream: it holds no stream and becomes a dead letter by itself."""

    body: bytes
    failure: Failure


@dataclass(slots=True)
class Decoded:
    """The decoded content of some deliveries of one projector."""

    arrived: list[ArrivedEvent] = field(default_factory=list)
    undecodable: list[Undecodable] = field(default_factory=list)
    as_of: dict[int, datetime] = field(default_factory=dict)
    """Lane → the latest heartbeat's ``asof``."""
    beats: list[Heartbeat] = field(default_factory=list)
    heads: list[Heads] = field(default_factory=list)


def decode(
    deliveries: Sequence[Delivery],
    lane_of_queue: Mapping[str, int],
    *,
    lanes: int = 1,
    kinds: frozenset[str] = EVERY_KIND,
) -> Decoded:
    """``lanes``: the number of lanes, for events from a queue that is not a lane's. ``kinds``: the kinds of stream that are read."""
    decoded = Decoded()
    for delivery in deliveries:
        inside = kinds_of(delivery.headers.get(KINDS_HEADER))
        if inside and inside.isdisjoint(kinds):
            continue
        queue_lane, epoch = lane_of_queue.get(delivery.queue), epoch_of(delivery.headers.get(EPOCH_HEADER))
        automatic = delivery.headers.get(AUTOMATIC_HEADER) is True
        events = events_in(delivery.body, partial(_lane, queue_lane, lanes=lanes), kinds)
        if events is not None:
            decoded.arrived += [ArrivedEvent(event, delivery.body, None, epoch, at, automatic) for at, event in events]
            continue
        try:
            elements = split(delivery.body, keys_once=False)
        except EnvelopeError as error:
            decoded.undecodable.append(Undecodable(delivery.body, failure_of(error, UNDECODABLE)))
            continue
        for element in elements:
            if _is_of_another_kind(element, kinds):
                continue
            _decode(decoded, element, queue_lane, lanes, epoch, automatic=automatic)
    return decoded


def _is_of_another_kind(element: Any, kinds: frozenset[str]) -> bool:
    """Whether it is an event of a stream that is not read. False if it names no stream or is not an event."""
    if not isinstance(element, dict) or element.get("type") in (HEARTBEAT, HEADS):
        return False
    stream = element.get("subject")
    return isinstance(stream, str) and not is_of(kinds, stream)


def _decode(
    decoded: Decoded, element: Any, queue_lane: int | None, lanes: int, epoch: str | None, *, automatic: bool
) -> None:
    try:
        kind = element.get("type") if isinstance(element, dict) else None
        if kind == HEARTBEAT and queue_lane is not None:
            beat = Heartbeat.model_validate(element)
            decoded.beats.append(beat.model_copy(update={"lane": queue_lane}))
            decoded.as_of[queue_lane] = max(beat.asof, decoded.as_of.get(queue_lane, beat.asof))
            return
        if kind == HEADS:
            decoded.heads.append(Heads.model_validate(element))
            return
        envelope = ReceivedEvent.model_validate(element)
    except ValidationError as error:
        event = _event_in_place(element, queue_lane, lanes)
        if event is not None:
            decoded.arrived.append(
                ArrivedEvent(event, element, failure_of(error, UNDECODABLE), epoch, automatic=automatic)
            )
        else:
            decoded.undecodable.append(Undecodable(to_json(element), failure_of(error, UNDECODABLE)))
        return
    failure: Failure | None = None
    data: EventData
    try:
        data = event_data(envelope.type, envelope.schemaversion, envelope.data)
    except UnknownEventError as error:
        data, failure = Unreadable(), failure_of(error, UNKNOWN)
    except (ValidationError, LookupError, TypeError, ValueError) as error:
        data, failure = Unreadable(), failure_of(error, UNDECODABLE)
    lane = _lane(queue_lane, envelope.subject, lanes)
    event = Event(
        envelope.id,
        envelope.type,
        envelope.subject,
        envelope.streamversion,
        envelope.time,
        data,
        lane,
        envelope.actor,
        envelope.traceparent,
    )
    decoded.arrived.append(ArrivedEvent(event, element, failure, epoch, automatic=automatic))


def _lane(queue_lane: int | None, stream: str, lanes: int) -> int:
    return queue_lane if queue_lane is not None else lane_of(stream, lanes)


def _event_in_place(element: Any, queue_lane: int | None, lanes: int) -> Event | None:
    """The event of an invalid envelope that still has a stream and a version, and so has to hold that stream; None: it has not."""
    try:
        place = Place.model_validate(element)
    except ValidationError:
        return None
    identity = f"{place.subject}@{place.streamversion}"
    lane = _lane(queue_lane, place.subject, lanes)
    return Event(identity, place.type, place.subject, place.streamversion, UNTIMED, Unreadable(), lane)
