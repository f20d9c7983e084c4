"""The relay's heartbeat: one a second on each lane, through the same queues as the events, so that an idle system is known to be fresh."""

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
