"""How far a projection had come when an answer was read from it: the header ``Tidemark-As-Of``.

The promise: whatever was committed before that time is in the answer (or its stream is held). It holds because the
progress is read *before* the data, so it can only understate. It is remembered for up to 250 ms, counted from when the
reading began, and concurrent requests share one reading.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

HEADER: Final = "Tidemark-As-Of"
REMEMBERED_S: Final = 0.25

_NEVER: Final[Mapping[str, str]] = {}


class AsOf:
    """One projection's header. ``read`` raises what a store raises; every request that waits for it sees the error."""

    def __init__(
        self, read: Callable[[], Awaitable[datetime | None]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._headers = _NEVER
        self._good_until = float("-inf")
        self._reading: asyncio.Task[Mapping[str, str]] | None = None

    async def headers(self) -> Mapping[str, str]:
        """The header to send with whatever is read from now on; none if no heartbeat was ever applied."""
        if self._clock() < self._good_until:
            return self._headers
        if self._reading is None:
            self._reading = asyncio.create_task(self._refresh())
            self._reading.add_done_callback(self._done)
        # Shielded: a client that hangs up must not take the reading away from the others.
        return await asyncio.shield(self._reading)

    async def _refresh(self) -> Mapping[str, str]:
        began = self._clock()
        time_ = await self._read()
        self._headers = _NEVER if time_ is None else {HEADER: rfc3339(time_)}
        self._good_until = began + REMEMBERED_S
        return self._headers

    def _done(self, reading: asyncio.Task[Mapping[str, str]]) -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # seen by those who wait, if any still do


def rfc3339(time_: datetime) -> str:
    """As UTC with ``Z``, to the microsecond."""
    return time_.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
