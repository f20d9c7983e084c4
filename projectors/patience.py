"""Waiting out what is no event's fault: a store that is away, a broker that does not confirm."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from projectors.projection import StoreUnavailableError
from shared.broker import Outgoing, Publisher
from shared.process import pause

log: Final = logging.getLogger(__name__)

T = TypeVar("T")


class Patience:
    """One for all tasks of a projector's process, so that its health has one place."""

    def __init__(
        self, projector: str, publisher: Publisher, *, stopping: asyncio.Event, longest_pause_s: float
    ) -> None:
        self._projector = projector
        self._publisher = publisher
        self._longest_pause_s = longest_pause_s
        self._stopping = stopping
        self.trouble: str | None = "the store has not been reached yet"

    async def until_up(self, step: Callable[[], Awaitable[T]]) -> T:
        """An outage is not poison: wait, however long it takes, and do the same again. Raises Stopped."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailableError),
            wait=wait_random_exponential(multiplier=0.1, max=self._longest_pause_s),
            before_sleep=self._say_trouble,
            sleep=self.pause,
        )
        async for attempt in retrying:
            with attempt:
                result = await step()
        self.trouble = None
        return result

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Return when all is confirmed, however long it takes. Raises Stopped."""
        if outgoing:
            await self._publisher.publish_all(outgoing, sleep=self.pause)

    async def pause(self, seconds: float) -> None:
        """Raises Stopped as soon as the process is stopping."""
        await pause(self._stopping, seconds)

    def _say_trouble(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        self.trouble = f"the store is away: {error}"
        if state.attempt_number in (1, 10) or state.attempt_number % 100 == 0:
            log.warning("%s: %s (attempt %d)", self._projector, self.trouble, state.attempt_number)
