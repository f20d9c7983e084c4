"""What travels on the lanes besides events: the relay's heartbeats, and answers to those who ask for heads of streams or for history."""

from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict


class LaneMessage(BaseModel):
    """The CloudEvents envelope of what is no event."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    time: datetime


HEARTBEAT: Final[Literal["tidemark.heartbeat"]] = "tidemark.heartbeat"


class Heartbeat(LaneMessage):
    """``asof``: every event of the lane committed before this time has gone before, in this queue."""

    type: Literal["tidemark.heartbeat"] = HEARTBEAT
    lane: int
    asof: datetime
    epoch: str | None = None
    """That of the write database: another one means that it was restored, and may know less than it did."""


HEADS: Final[Literal["tidemark.heads"]] = "tidemark.heads"


class Heads(LaneMessage):
    """The versions that streams of the lane have; every event up to them has gone before, in this queue, or was lost."""

    type: Literal["tidemark.heads"] = HEADS
    lane: int
    asked: str
    """The id of the request that this answers."""
    streams: tuple[tuple[str, int], ...]
    last: bool
    """Whether this is the last page."""
    epoch: str | None = None
    """Of the write database that has these versions."""


HISTORY_PAGE: Final[Literal["tidemark.history-page"]] = "tidemark.history-page"


class HistoryPage(LaneMessage):
    """Stands before and behind the events of a page of history, in the projection's history queue."""

    type: Literal["tidemark.history-page"] = HISTORY_PAGE
    asked: str
    """The id of the request that this answers."""
    generation: int
    place: Literal["begin", "end"]
    after_stream: str
    after_version: int
    last_stream: str
    last_version: int
    """Where the page begins, exclusive, and ends, inclusive."""
    events: int
    total: int | None = None
    """Of all events there were when it was asked."""
    done: bool = False
    """Nothing follows."""
