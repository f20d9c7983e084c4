"""Outages of a server: a step is retried with jittered exponential back-off until the server responds.

An outage is not a failure of the work itself: while it lasts nothing is given up and no attempt is counted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

from shared.runtime.process import pause
from shared.runtime.stalls import StallDetector

LONGEST_PAUSE_S: Final = 5.0

T = TypeVar("T")


class OutageRetry:
    """Retries the steps of a process's tasks against one server, and reports which of them makes no progress, and why."""

    def __init__(
        self,
        server: str,
        is_outage: Callable[[BaseException], bool],
        *,
        stopping: asyncio.Event | None = None,
        longest_pause_s: float = LONGEST_PAUSE_S,
    ) -> None:
        """``server``: its name in reports, for example "the write database"."""
        self.server = server
        self.stalls = StallDetector()
        self._is_outage = is_outage
        self._stopping = stopping or asyncio.Event()
        self._longest_pause_s = longest_pause_s
        self._reached = False

    @property
    def trouble(self) -> str | None:
        """The step that makes no progress, with the reason; or that the server has not been reached since the start."""
        return self.stalls.trouble or (None if self._reached else f"{self.server} has not been reached yet")

    async def until_up(self, step: Callable[[], Awaitable[T]], *, what: str = "", takes_long: bool = False) -> T:
        """The result of ``step``, retried for as long as the outage lasts. Raises Stopped, and every error that is not an outage.

        ``what``: what the step does, for reports. ``takes_long``: a long duration is normal; only failures are reported.
        """
        with self.stalls.step(f"{self.server}: {what}" if what else self.server, takes_long=takes_long) as reported:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(self._is_outage),
                wait=wait_random_exponential(multiplier=0.1, max=self._longest_pause_s),
                before_sleep=lambda state: reported.failed(state.outcome.exception() if state.outcome else None),
                sleep=self.pause,
            ):
                with attempt:
                    result = await step()
        self._reached = True
        return result

    async def pause(self, seconds: float) -> None:
        """Sleep. Raises Stopped as soon as the process stops."""
        await pause(self._stopping, seconds)
