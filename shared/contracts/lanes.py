"""What travels on the lanes besides events: the relay's heartbeats, and answers to those who ask for the heads of streams."""

from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

HEARTBEAT: Final[Literal["tidemark.heartbeat"]] = "tidemark.heartbeat"


class Heartbeat(BaseModel):
    """``asof``: every event of the lane committed before this time has gone before, in this queue."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: Literal["tidemark.heartbeat"] = HEARTBEAT
    time: datetime
    lane: int
    asof: datetime


HEADS: Final[Literal["tidemark.heads"]] = "tidemark.heads"


class Heads(BaseModel):
    """The versions that streams of the lane have; every event up to them has gone before, in this queue, or was lost."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: Literal["tidemark.heads"] = HEADS
    time: datetime
    lane: int
    asked: str
    """The id of the request that this answers."""
    streams: tuple[tuple[str, int], ...]
    last: bool
    """Whether this is the last page."""
