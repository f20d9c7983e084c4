"""Packing outbox rows into messages, in stream order: pure. A message holds events of one lane, up to 100 or 256 KiB.

Kinds of stream that no read model reads together are not packed together, so that no projector has to parse a message for nothing
(``shared.read_models.packing_groups``). A header names the kinds that are inside.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from shared.messages.envelope import BATCH_CONTENT_TYPE, CONTENT_TYPE, pack
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from shared.read_models import PACKING_GROUPS


@dataclass(frozen=True, slots=True)
class Row:
    id: int
    stream: str
    type: str | None
    """None: as in the envelope, which is parsed only for a single event, since it costs as much as reading it."""
    envelope: str

    @property
    def kind(self) -> str:
        """The kind of stream."""
        return self.stream.partition("/")[0]


@dataclass(slots=True)
class RowBatch:
    """The rows of one message."""

    lane: int
    rows: list[Row] = field(default_factory=list)
    size: int = 2

    def has_room_for(self, length: int) -> bool:
        full = len(self.rows) >= topology.MAX_EVENTS_PER_MESSAGE
        return not full and (not self.rows or self.size + length <= topology.MAX_BYTES_PER_MESSAGE)

    def ids(self) -> list[int]:
        return [row.id for row in self.rows]

    def message(self, routing_key: str, headers: Mapping[str, Any] | None = None) -> Outgoing:
        """The message: one event in the structured form, with its type as an AMQP property; several in the batch form."""
        kinds = {topology.KINDS_HEADER: ",".join(sorted({row.kind for row in self.rows}))}
        headers = {**kinds, **(headers or {})}
        if len(self.rows) == 1:
            row = self.rows[0]
            kind = row.type or from_json(row.envelope)["type"]
            return Outgoing(topology.EVENTS, routing_key, row.envelope.encode(), CONTENT_TYPE, kind, headers=headers)
        return Outgoing(
            topology.EVENTS,
            routing_key,
            pack([row.envelope.encode() for row in self.rows]),
            BATCH_CONTENT_TYPE,
            headers=headers,
        )


def row_batches(rows: Iterable[Row], lanes: int) -> Sequence[RowBatch]:
    """The rows as messages, in the order in which they must be published: each stream's rows are in order."""
    packed: list[RowBatch] = []
    open_batches: dict[tuple[int, str], RowBatch] = {}
    for row in rows:
        lane = topology.lane_of(row.stream, lanes)
        length = len(row.envelope) + 1
        place = lane, PACKING_GROUPS.get(row.kind, row.kind)
        batch = open_batches.get(place)
        if batch is None or not batch.has_room_for(length):
            batch = open_batches[place] = RowBatch(lane)
            packed.append(batch)
        batch.rows.append(row)
        batch.size += length
    return packed
