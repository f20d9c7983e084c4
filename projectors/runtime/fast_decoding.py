"""Events decoded in one pass over a message's bytes, where nothing is odd about them: what nearly every message is.

The result is what ``projectors.runtime.decoding`` would make of the same bytes. If any part is not a valid event in its current shape,
nothing is returned and the caller uses ``decoding``. An event's ``type`` selects the class of its envelope, and that knows the class of
the data, so a batch becomes structs in one pass: a third cheaper than element by element.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from types import GenericAlias
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta, Raw

from projectors.stores.port import Event
from shared.contracts.registry import EVENTS
from shared.contracts.values import EventData


class _Envelope(msgspec.Struct, kw_only=True, gc=False):
    """As ``shared.messages.envelope.ReceivedEvent``, in the order in which it is written."""

    type: ClassVar[str]
    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    subject: Annotated[str, Meta(min_length=1, max_length=300)]
    time: Annotated[datetime, Meta(tz=True)]
    datacontenttype: Literal["application/json"] = "application/json"
    data: EventData
    streamversion: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    schemaversion: int
    causationid: str
    correlationid: str
    traceparent: str | None = None


def _envelope_of(cls: type[EventData], name: str, version: int) -> type[msgspec.Struct]:
    """The envelope of one type of event, in the schema version that is current."""
    return msgspec.defstruct(
        cls.__name__,
        [("data", cls), ("schemaversion", Annotated[int, Meta(ge=version, le=version)])],
        bases=(_Envelope,),
        namespace={"type": name},
        tag_field="type",
        tag=name,
        kw_only=True,
        gc=False,
    )


_ANY: Final[Any] = reduce(or_, (_envelope_of(cls, *place) for cls, place in EVENTS.items()))
_ONE: Final[msgspec.json.Decoder[_Envelope]] = msgspec.json.Decoder(_ANY)
_BATCH: Final[msgspec.json.Decoder[list[_Envelope]]] = msgspec.json.Decoder(GenericAlias(list, _ANY))
_ELEMENTS: Final = msgspec.json.Decoder(list[Raw])


def events_in(body: bytes, lane_of: Callable[[str], int]) -> Sequence[Event] | None:
    """The events of a message, in its order; None: decode it the slow way. ``lane_of``: stream → lane."""
    try:
        envelopes = _BATCH.decode(body) if _is_batch(body) else [_ONE.decode(body)]
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None
    if any("\x00" in each.subject for each in envelopes):
        return None
    return [
        Event(each.id, each.type, each.subject, each.streamversion, each.time, each.data, lane_of(each.subject))
        for each in envelopes
    ] or None


def element_of(body: bytes, at: int) -> bytes:
    """The bytes of the envelope that event ``at`` of a message came in."""
    return bytes(_ELEMENTS.decode(body)[at]) if _is_batch(body) else body


def _is_batch(body: bytes) -> bool:
    return body.startswith(b"[")
