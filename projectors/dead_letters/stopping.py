"""Waiting for what is away, and giving up waiting when the process stops."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

from shared.broker import Outgoing, Publisher
from shared.postgres import is_outage
from shared.process import pause
from shared.progress import Progress

AT_ONCE: Final = 500
"""Most publishes under way at any time."""

T = TypeVar("T")


class Patience:
    """Waits, with jittered back-off, for the operations database and the broker."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        self.progress = Progress()

    @property
    def trouble(self) -> str | None:
        """What does not come to its end, and why."""
        return self.progress.trouble

    async def until_up(self, step: Callable[[], Awaitable[T]], *, takes_long: bool = False) -> T:
        """The step's result, however long the database is away. Raises Stopped, and what is the step's own fault."""
        with self.progress.step("the operations database", takes_long=takes_long) as asked:
            retrying = AsyncRetrying(
                retry=retry_if_exception(is_away),
                wait=wait_random_exponential(multiplier=0.1, max=5),
                before_sleep=lambda state: asked.failed(state.outcome.exception() if state.outcome else None),
                sleep=self.pause,
            )
            async for attempt in retrying:
                with attempt:
                    result = await step()
        return result

    async def publish(self, publisher: Publisher, outgoing: Sequence[Outgoing]) -> None:
        """Return when the broker has confirmed all of them, however long it takes. Raises Stopped."""
        for start in range(0, len(outgoing), AT_ONCE):
            await publisher.publish_all(outgoing[start : start + AT_ONCE], sleep=self.pause)

    async def pause(self, seconds: float) -> None:
        """Raises Stopped as soon as the process is stopping."""
        await pause(self._stopping, seconds)


def is_away(error: BaseException) -> bool:
    """Whether the same again will do: the database is away, or another worker wrote the same row first.

    What the driver itself refuses to send (a ValueError) is not an outage.
    """
    if isinstance(error, asyncpg.UniqueViolationError):
        return True
    return is_outage(error) and not isinstance(error, ValueError)
