"""The progress of a projection: what all read stores have in common.

PostgreSQL stores keep it in the tables ``positions``, ``held`` and ``progress``; DDL in ``projectors/stores/positions.sql``.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from pydantic import BaseModel

from shared.views.generations import Incomplete, Stopped

SEEN_SINCE: Final = datetime(1971, 1, 1, tzinfo=UTC)
"""An ``as_of`` before this says nothing to readers: a projector writes it into a store that has none, and then compares that store with
the event store; if it is gone afterwards, the store has lost its data meanwhile."""


class FreshnessStatus(StrEnum):
    CURRENT = "current"
    """Everything committed up to a moment ago is applied or held."""
    BEHIND = "behind"
    """It is not, and the projection is catching up."""
    STALLED = "stalled"
    """No progress for some seconds: the projection is ``stopped``, or the projector, the relay, or something between them fails;
    or no command is decided, so that everything is applied, but no new events will follow."""


class Freshness(BaseModel):
    """``as_of``: everything committed before this time is in the answer, or held; null before the first heartbeat."""

    projection: str
    generation: int
    """The generation that queries read."""
    epoch: str | None
    """The epoch of the write database that the generation was built from, where it is known."""
    status: FreshnessStatus
    reason: str | None = None
    """Why it is stalled, in words; null where it is not."""
    stopped: Stopped | None
    """Why no events are applied after the write database was set back; null otherwise."""
    incomplete: Incomplete | None = None
    """The kinds of stream that the projection reads and the generation does not have yet; null: it has all."""
    as_of: datetime | None
    lag_seconds: float | None
    """The age of ``as_of``; heartbeats are sent once a second, so about one second is normal."""
    events_applied: int
    held: int
    """Streams that this projection holds."""
    oldest_unapplied_seconds: float | None
    """The age of the oldest event that is, or may be, not applied; null: there is none.

    For held streams: since the holding event first failed or was found missing: exact, but measured from the failure, not from when the
    event happened. For a projection that is not current: the age of ``as_of``; nothing older is missing, something as old may be.
    """
