"""Events decoded in one pass over their bytes, where nothing is odd about them: what nearly every message is.

The promise: what is returned is what ``projectors.decoding`` would make of the same bytes. Of anything that is not an event in its current
shape, sound in every part, nothing is returned, and the slow way has the last word. The envelope's ``data`` go from bytes into
their class without becoming plain JSON in between, which saves a third of the cost of an event.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw

from projectors.projection import Event
from shared.contracts.registry import EVENTS
from shared.contracts.values import EventData


class _Envelope(msgspec.Struct):
    """As ``shared.contracts.envelope.ReceivedEvent``, the data left as they are."""

    id: str
    source: str
    type: Annotated[str, Meta(max_length=200)]
    subject: Annotated[str, Meta(min_length=1, max_length=300)]
    time: Annotated[datetime, Meta(tz=True)]
    data: Raw
    streamversion: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    schemaversion: Annotated[int, Meta(ge=1)]
    causationid: str
    correlationid: str
    specversion: Literal["1.0"] = "1.0"
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: str | None = None


_DATA: Final[Mapping[tuple[str, int], msgspec.json.Decoder[EventData]]] = {
    place: msgspec.json.Decoder(cls) for cls, place in EVENTS.items()
}
"""By type and the schema version that is current."""
_BATCH: Final = msgspec.json.Decoder(list[Raw])
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)


def events_in(body: bytes, lane_of: Callable[[str], int]) -> Sequence[tuple[Raw, Event]] | None:
    """Each event with its envelope's bytes; None: decode it the slow way. ``lane_of``: stream → lane."""
    try:
        return list(_events(_BATCH.decode(body) if body.startswith(b"[") else [Raw(body)], lane_of)) or None
    except (LookupError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


def _events(envelopes: Sequence[Raw], lane_of: Callable[[str], int]) -> Iterator[tuple[Raw, Event]]:
    for raw in envelopes:
        envelope = _ENVELOPE.decode(raw)
        stream = envelope.subject
        if "\x00" in stream:
            raise ValueError("NUL in a stream's name")
        data = _DATA[envelope.type, envelope.schemaversion].decode(envelope.data)
        yield (
            raw,
            Event(envelope.id, envelope.type, stream, envelope.streamversion, envelope.time, data, lane_of(stream)),
        )
