"""Waiting out what is no event's fault: a store that is away, a broker that does not confirm."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from projectors.projection import StoreUnavailableError
from shared.broker import Outgoing, Publisher
from shared.process import pause
from shared.progress import Progress

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
        self._progress = Progress()
        self._reached = False

    @property
    def trouble(self) -> str | None:
        """What the store does not come to an end with, or refuses, and why."""
        return self._progress.trouble or (None if self._reached else "the store has not been reached yet")

    async def until_up(self, step: Callable[[], Awaitable[T]], *, takes_long: bool = False) -> T:
        """An outage is not poison: wait, however long it takes, and do the same again. Raises Stopped.

        ``takes_long``: it may, where all is well.
        """
        with self._progress.step(f"the {self._projector} store", takes_long=takes_long) as asked:
            retrying = AsyncRetrying(
                retry=retry_if_exception_type(StoreUnavailableError),
                wait=wait_random_exponential(multiplier=0.1, max=self._longest_pause_s),
                before_sleep=lambda state: asked.failed(state.outcome.exception() if state.outcome else None),
                sleep=self.pause,
            )
            async for attempt in retrying:
                with attempt:
                    result = await step()
        self._reached = True
        return result

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Return when all is confirmed, however long it takes. Raises Stopped."""
        if outgoing:
            await self._publisher.publish_all(outgoing, sleep=self.pause)

    async def pause(self, seconds: float) -> None:
        """Raises Stopped as soon as the process is stopping."""
        await pause(self._stopping, seconds)
