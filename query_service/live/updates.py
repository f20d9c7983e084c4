"""Updates for event streams, encoded once for all readers, and the readers' filters."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

ADVANCED: Final = "advanced"
"""A stream has advanced to a version."""
HELD: Final = "held"
"""A stream is held at a version that has not been applied."""
ACTIVATED: Final = "activated"
"""Queries are answered from another generation: query displayed data again."""
RESET: Final = "reset"
"""Updates may have been missed: query displayed data again and continue from here."""
READY: Final = "ready"
"""Updates from now on are sent; ``news``: whether change messages are received at the moment."""


class Update:
    """One update, encoded for the first reader that needs it and reused for all others."""

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
        """As text/event-stream."""
        if self._sse is None:
            self._sse = sse(self.event, self.data, self.id)
        return self._sse

    @property
    def json(self) -> str:
        """As a WebSocket message."""
        if self._json is None:
            self._json = json(self.event, self.data, self.id)
        return self._json


def sse(event: str, data: Any, id_: str | None) -> bytes:
    """``id_`` None: the reader keeps the id that it has."""
    line = b"" if id_ is None else b"id: %s\n" % id_.encode()
    return line + b"event: %s\ndata: %s\n\n" % (event.encode(), msgspec.json.encode(data))


def json(event: str, data: Any, id_: str | None) -> str:
    own = {} if id_ is None else {"id": id_}
    return msgspec.json.encode({**own, "event": event, "data": data}).decode()


@dataclass(frozen=True, slots=True)
class Filter:
    """Matches any of the named values of each set; an empty set matches all. Updates of a whole projection match by its name only."""

    streams: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    projections: frozenset[str] = frozenset()

    def matches(self, update: Update) -> bool:
        if self.projections and update.projection not in self.projections:
            return False
        if update.stream is None:
            return True
        return (not self.streams or update.stream in self.streams) and (not self.kinds or update.kind in self.kinds)
