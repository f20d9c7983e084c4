"""How far a projection has come: the part every read store has in common.

PostgreSQL stores keep it in the tables ``positions``, ``held`` and ``progress`` beside their data (DDL in ``projectors/positions.sql``).
"""

from datetime import datetime

from pydantic import BaseModel


class Freshness(BaseModel):
    """``as_of``: everything committed before this time is in the answer, or held; null before the first heartbeat."""

    projection: str
    as_of: datetime | None
    lag_seconds: float | None
    events_applied: int
    held: int
    """Streams that wait for something in this projection."""
