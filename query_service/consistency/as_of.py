"""The header ``Tidemark-As-Of``: everything committed before that time is in the response, unless its stream is held.

The guarantee holds because the progress is read *before* the data, so it can only understate. The progress is cached for up to
250 ms, counted from the start of the read, and concurrent requests share one read.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from query_service.stores.single_flight_cache import SingleFlightCache

HEADER: Final = "Tidemark-As-Of"
CACHED_S: Final = 0.25


class AsOf:
    """The header of one generation. An error of ``read`` is raised in every request that waits for that read."""

    def __init__(
        self, read: Callable[[], Awaitable[datetime | None]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._cache = SingleFlightCache(self._headers, CACHED_S, clock)

    async def headers(self) -> Mapping[str, str]:
        """The header to send with data that is read after this call; empty if no heartbeat was ever applied."""
        return await self._cache.get()

    async def _headers(self) -> Mapping[str, str]:
        time_ = await self._read()
        return {} if time_ is None else {HEADER: rfc3339(time_)}


def rfc3339(time_: datetime) -> str:
    """As UTC with ``Z``, to the microsecond."""
    return time_.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
