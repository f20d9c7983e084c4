"""How far a projection has come: the part every read store has in common.

PostgreSQL stores keep it in the tables ``positions``, ``held`` and ``progress``; DDL in ``projectors/stores/positions.sql``.
"""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel

from shared.views.generations import Stopped


class FreshnessStatus(StrEnum):
    CURRENT = "current"
    """It has all that was committed up to a moment ago, or holds it."""
    BEHIND = "behind"
    """It has not, and is coming on."""
    STALLED = "stalled"
    """Nothing new has come to it for some seconds: it is ``stopped``, or the projector, the relay, or what is between them, does not work;
    or no command is decided, so that it has all there is, and there will be no more."""


class Freshness(BaseModel):
    """``as_of``: everything committed before this time is in the answer, or held; null before the first heartbeat."""

    projection: str
    generation: int
    """The one that queries are answered from."""
    epoch: str | None
    """The epoch of the write database that the generation was built from, where it is known."""
    status: FreshnessStatus
    reason: str | None = None
    """Why it is stalled, in words; null where it is not."""
    stopped: Stopped | None
    """Why nothing is applied, where the write database was set back; null otherwise."""
    as_of: datetime | None
    lag_seconds: float | None
    """The age of ``as_of``; heartbeats come once a second, so about that much means nothing."""
    events_applied: int
    held: int
    """Streams that wait for something in this projection."""
    oldest_unapplied_seconds: float | None
    """How long the oldest event that is known to be missing, or may be, has been so; null: none is.

    Of held streams, since the event that holds one failed first, or was found missing: exact, and the time of failing, not of
    happening. Of a projection that is not current, the age of ``as_of``: nothing older is missing, something as old may be.
    """
