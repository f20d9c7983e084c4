"""The three read stores, as the query service sees them: each answers within a deadline or raises StoreDownError.

Nothing is connected when the service starts; the first request does it, and again after every outage. A store that has
just failed is not asked again for half a second: those who come in between get their 503 at once.
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
"""The longest a request waits for one store."""
PAUSE_S: Final = 0.5
QUIET_S: Final = 10.0
"""A store that stays down is logged no more often than this."""
PROMPT_S: Final = 2.0
"""The longest a question about the stores themselves waits for one."""


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
    """How far a store has come in one stream."""

    applied: int = 0
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class ProjectionProgress:
    """What a store says of its own progress. ``held_since``: when the longest held of its streams first failed."""

    as_of: datetime | None
    events_applied: int
    held: int
    held_since: datetime | None


class ReadStore(Protocol):
    """What freshness and readiness need of any store; each raises StoreDownError."""

    projection: str

    async def headers(self) -> Mapping[str, str]:
        """``Tidemark-As-Of`` for what is read from now on."""

    async def standings(self, streams: Sequence[str]) -> Mapping[str, StreamPosition]:
        """Where each of these streams stands; those it knows nothing of may be left out."""

    async def progress(self) -> ProjectionProgress: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


async def promptly(asking: Awaitable[T], projection: str) -> T:
    """The answer to a question about a store itself. Raises StoreDownError after PROMPT_S."""
    try:
        async with asyncio.timeout(PROMPT_S):
            return await asking
    except TimeoutError as error:
        raise StoreDownError(projection, "it did not answer in time") from error


@dataclass
class Pause:
    """Keeps requests away from a store that has just failed."""

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
