"""Packing outbox rows into messages: pure. Order within a lane is kept; a message holds one lane's events, up to 100 or 256 KiB."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from shared.messages.envelope import BATCH_CONTENT_TYPE, CONTENT_TYPE, pack
from shared.messaging import topology
from shared.messaging.broker import Outgoing


@dataclass(frozen=True, slots=True)
class Row:
    id: int
    stream: str
    type: str | None
    """None: as the envelope says; where many go out together nobody looks, and to find out costs as much as to read them."""
    envelope: str


@dataclass(slots=True)
class Parcel:
    """The rows that go out in one message."""

    lane: int
    rows: list[Row] = field(default_factory=list)
    size: int = 2

    def has_room_for(self, length: int) -> bool:
        full = len(self.rows) >= topology.MAX_EVENTS_PER_MESSAGE
        return not full and (not self.rows or self.size + length <= topology.MAX_BYTES_PER_MESSAGE)

    def ids(self) -> list[int]:
        return [row.id for row in self.rows]

    def message(self, routing_key: str, headers: Mapping[str, Any] | None = None) -> Outgoing:
        """One event in the structured form, with its type where broker tools show it; several in the batch form."""
        if len(self.rows) == 1:
            row = self.rows[0]
            kind = row.type or from_json(row.envelope)["type"]
            return Outgoing(
                topology.EVENTS, routing_key, row.envelope.encode(), CONTENT_TYPE, kind, headers=headers or {}
            )
        return Outgoing(
            topology.EVENTS,
            routing_key,
            pack([row.envelope.encode() for row in self.rows]),
            BATCH_CONTENT_TYPE,
            headers=headers or {},
        )


def parcels(rows: Iterable[Row], lanes: int) -> Sequence[Parcel]:
    """In the order in which they must be published."""
    packed: list[Parcel] = []
    open_parcels: dict[int, Parcel] = {}
    for row in rows:
        lane = topology.lane_of(row.stream, lanes)
        length = len(row.envelope) + 1
        parcel = open_parcels.get(lane)
        if parcel is None or not parcel.has_room_for(length):
            parcel = open_parcels[lane] = Parcel(lane)
            packed.append(parcel)
        parcel.rows.append(row)
        parcel.size += length
    return packed
