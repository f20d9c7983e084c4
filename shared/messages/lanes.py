"""Messages on the lanes other than events: the relay's heartbeats, and replies to requests for stream heads or history."""

from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict


class LaneMessage(BaseModel):
    """The CloudEvents envelope of a message that is not an event."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    time: datetime


HEARTBEAT: Final[Literal["tidemark.heartbeat"]] = "tidemark.heartbeat"


class Heartbeat(LaneMessage):
    """``asof``: every event of the lane committed before this time precedes this message in the queue."""

    type: Literal["tidemark.heartbeat"] = HEARTBEAT
    lane: int
    asof: datetime
    epoch: str | None = None
    """The epoch of the write database: a new one means that it was restored, and may have lost events."""


HEADS: Final[Literal["tidemark.heads"]] = "tidemark.heads"


class Heads(LaneMessage):
    """The current versions of streams of the lane; every event up to them precedes this message in the queue, or was lost."""

    type: Literal["tidemark.heads"] = HEADS
    lane: int
    asked: str
    """The id of the request."""
    streams: tuple[tuple[str, int], ...]
    last: bool
    """Whether this is the last page."""
    epoch: str | None = None
    """The epoch of the write database with these versions."""


HISTORY_PAGE: Final[Literal["tidemark.history-page"]] = "tidemark.history-page"


class HistoryPage(LaneMessage):
    """Precedes and follows the events of a page of history, in the projection's history queue."""

    type: Literal["tidemark.history-page"] = HISTORY_PAGE
    asked: str
    """The id of the request."""
    generation: int
    place: Literal["begin", "end"]
    after_stream: str
    after_version: int
    last_stream: str
    last_version: int
    """The position before the page, and that of its last event."""
    events: int
    total: int | None = None
    """The total number of events at the time of the request."""
    done: bool = False
    """Whether this is the end of history."""
