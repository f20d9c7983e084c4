"""The interface of the three read stores: each answers within a deadline or raises StoreDownError.

Connections are opened by the first request, and again after an outage, not at startup. For half a second after a failure the store is
not used, and requests get a 503 at once.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, TypeVar

from query_service.http.problems import StoreDownError
from shared.runtime.reasons import reason as words_of

T = TypeVar("T")
_log = logging.getLogger(__name__)

DEADLINE_S: Final = 5.0
"""Maximum wait of a request for one store."""
PAUSE_S: Final = 0.5
QUIET_S: Final = 10.0
"""Minimum interval between log messages about a store that stays unavailable."""
PROMPT_S: Final = 2.0
"""Maximum wait of a health or freshness check for one store."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a stream does not advance; ``status`` as in ``shared.views.summary.HeldView``."""

    status: str
    version: int
    reason: str
    seen: int = 0
    """The highest version that has arrived."""

    @property
    def dead(self) -> bool:
        return self.status == "dead"


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """The version that a store has applied of one stream, and the hold of the stream, if any."""

    applied: int = 0
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class ProjectionProgress:
    """A store's progress. ``held_since``: the first failure of the stream that is held longest."""

    as_of: datetime | None
    events_applied: int
    held: int
    held_since: datetime | None


@dataclass(frozen=True, slots=True)
class LaneProgress:
    """A store's progress in one lane. ``as_of``: everything of the lane that was committed before is applied, or held."""

    lane: int
    as_of: datetime | None
    events_applied: int


class ReadStore(Protocol):
    """The methods of any store that freshness and readiness need; each raises StoreDownError."""

    projection: str

    async def headers(self) -> Mapping[str, str]:
        """``Tidemark-As-Of`` for data that is read after this call."""

    async def positions(self, streams: Sequence[str]) -> Mapping[str, StreamPosition]:
        """The positions of these streams; those without a position may be omitted."""

    async def progress(self) -> ProjectionProgress: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


async def promptly(operation: Awaitable[T], projection: str) -> T:
    """The result of a health or freshness check. Raises StoreDownError after PROMPT_S."""
    try:
        async with asyncio.timeout(PROMPT_S):
            return await operation
    except TimeoutError as error:
        raise StoreDownError(projection, "it did not answer in time") from error


@dataclass
class Pause:
    """Makes requests to a store fail at once for PAUSE_S after a failure."""

    projection: str
    _until: float = 0.0
    _reason: str = ""
    _quiet_until: float = 0.0

    def check(self) -> None:
        if time.monotonic() < self._until:
            raise StoreDownError(self.projection, self._reason)

    def failed(self, reason: str, error: BaseException) -> StoreDownError:
        now = time.monotonic()
        if now > self._quiet_until:
            _log.warning("the %s store is unavailable: %s (%s)", self.projection, reason, words_of(error))
            self._quiet_until = now + QUIET_S
        self._until = now + PAUSE_S
        self._reason = reason
        return StoreDownError(self.projection, reason)
