"""An event store in miniature: streams of a shop's facts, drawn at random, each as it goes over the wire."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

from projectors.stores.port import Advance, Event
from shared.contracts.orders import Line, OrderPaid, OrderPlaced, OrderShipped
from shared.contracts.registry import EVENTS
from shared.contracts.values import EventData
from shared.messages.envelope import EventEnvelope
from tests import shop

STREAMS: Final = ("orders/a", "orders/b", "orders/c", "products/p-1", "customers/c-1")
UNKNOWN: Final = "orders.order-gift-wrapped"
"""A type that no projector knows: somebody will have to discard it."""


@dataclass(frozen=True)
class Stored:
    event: Event
    body: bytes
    at: datetime
    """When it was committed."""

    @property
    def known(self) -> bool:
        return self.event.type != UNKNOWN


class EventStore:
    def __init__(self, random: Random) -> None:
        self._random = random
        self.streams: dict[str, list[Stored]] = {stream: [] for stream in STREAMS}

    def append(self, stream: str, at: datetime, *, unknown: bool = False) -> Stored | None:
        """The stream's next event, or None where nothing can follow any more. ``unknown``: of a type that nobody knows."""
        before = [stored.event.data for stored in self.streams[stream] if stored.known]
        data = shop.SomethingNew() if unknown else self._next(stream, before)
        if data is None:
            return None
        kind, schema = (UNKNOWN, 1) if unknown else EVENTS[type(data)]
        version = len(self.streams[stream]) + 1
        envelope = EventEnvelope(
            id=f"{stream}@{version}",
            source="tests",
            type=kind,
            subject=stream,
            time=at,
            data=data,
            streamversion=version,
            schemaversion=schema,
            causationid="c",
            correlationid="c",
        )
        event = Event(envelope.id, kind, stream, version, at, data, lane=0)
        stored = Stored(event, envelope.to_json(), at)
        self.streams[stream].append(stored)
        return stored

    def expected(self, without: set[tuple[str, int]]) -> list[Advance]:
        """All events there are but these (stream, version), stream by stream, for a fold of all at once."""
        kept = {
            stream: [stored.event for stored in history if (stream, stored.event.version) not in without]
            for stream, history in self.streams.items()
        }
        return [Advance(stream, 0, events) for stream, events in kept.items() if events]

    def _next(self, stream: str, before: list[EventData]) -> EventData | None:
        key = stream.partition("/")[2]
        if stream.startswith("orders/"):
            return self._next_of_order(key, before)
        if stream.startswith("customers/"):
            name = self._random.choice(("Ann", "Bea", "Cleo"))
            return shop.renamed(key, name=name) if before else shop.registered(key, name=name)
        if not before:
            return shop.created(key)
        count = len(before)
        facts = (
            shop.repriced(key, price=count),
            shop.updated(key, name=f"Banana {count}"),
            shop.received(key, quantity=1, stock=count),
            shop.reviewed(key, count=count, total=4 * count),
        )
        return self._random.choice(facts)

    def _next_of_order(self, order_id: str, before: list[EventData]) -> EventData | None:
        if not before:
            return shop.placed(
                order_id,
                customer_id=self._random.choice(("c-1", "c-2")),
                lines=tuple(self._lines()),
                at=shop.NOON + timedelta(hours=self._random.randrange(60)),
            )
        order, last = before[0], before[-1]
        assert isinstance(order, OrderPlaced)
        if isinstance(last, OrderPlaced | OrderPaid) and self._random.random() < 0.3:
            return shop.cancelled(order)
        if isinstance(last, OrderPlaced):
            return shop.paid(order_id, customer_id=order.customer_id, amount=order.total)
        if isinstance(last, OrderPaid):
            return shop.shipped(order_id)
        return shop.delivered(order_id) if isinstance(last, OrderShipped) else None

    def _lines(self) -> Iterator[Line]:
        for number in range(self._random.randint(1, 3)):
            yield Line(
                product_id=f"p-{number}",
                name=f"Product {number}",
                quantity=self._random.randint(1, 3),
                amount=self._random.randint(0, 500),
            )
