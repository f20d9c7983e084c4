"""Updates: what live readers are told, encoded once for all of them, and the filters by which they choose."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

ADVANCED: Final = "advanced"
"""A stream has come to a version."""
HELD: Final = "held"
"""A stream waits at a version that has not been applied."""
ACTIVATED: Final = "activated"
"""Queries are answered from another generation: read again what you show."""
RESET: Final = "reset"
"""Something may have been missed: read again what you show, and go on from here."""
READY: Final = "ready"
"""What happens from now on is told; ``news``: whether any come in at the moment."""


class Update:
    """Something that happened. Encoded when the first reader wants it, and then for all."""

    __slots__ = ("_json", "_sse", "data", "event", "id", "kind", "projection", "sequence", "stream")

    def __init__(self, run: str, sequence: int, event: str, projection: str, stream: str | None, data: Any) -> None:
        self.id = f"{run}-{sequence}"
        self.sequence = sequence
        self.event = event
        self.projection = projection
        self.stream = stream
        self.kind = stream.partition("/")[0] if stream is not None else None
        self.data = data
        self._sse: bytes | None = None
        self._json: str | None = None

    @property
    def sse(self) -> bytes:
        """As text/event-stream has it."""
        if self._sse is None:
            self._sse = sse(self.event, self.data, self.id)
        return self._sse

    @property
    def json(self) -> str:
        """As a message over WebSocket."""
        if self._json is None:
            self._json = json(self.event, self.data, self.id)
        return self._json


def sse(event: str, data: Any, id_: str | None) -> bytes:
    """``id_`` None: the reader goes on from the id it has."""
    line = b"" if id_ is None else b"id: %s\n" % id_.encode()
    return line + b"event: %s\ndata: %s\n\n" % (event.encode(), msgspec.json.encode(data))


def json(event: str, data: Any, id_: str | None) -> str:
    own = {} if id_ is None else {"id": id_}
    return msgspec.json.encode({**own, "event": event, "data": data}).decode()


@dataclass(frozen=True, slots=True)
class Filter:
    """Of each, any of those named; none named: all. What is about a whole projection goes by its name alone."""

    streams: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    projections: frozenset[str] = frozenset()

    def matches(self, update: Update) -> bool:
        if self.projections and update.projection not in self.projections:
            return False
        if update.stream is None:
            return True
        return (not self.streams or update.stream in self.streams) and (not self.kinds or update.kind in self.kinds)
