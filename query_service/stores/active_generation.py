"""Which generation of a projection is read: every request reads one, the same for all its statements, and never a mixture.

The registry beside the data says which generation is active (``shared.views.generations``); no request is answered by an
older word of it than a second. Whoever finds that the generation he reads is no longer there, or no longer the one to be
read where its disappearance would not show, gets GenerationGoneError and starts anew. What is no longer active stays
connected for a while, for those who are still at it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, Self, TypeVar

from query_service.http.problems import GenerationGoneError
from query_service.stores.port import ReadStore
from query_service.stores.single_flight_cache import SingleFlightCache
from shared.views.generations import FIRST, Stopped

REMEMBERED_S: Final = 1.0
RETIRED_S: Final = 60.0
"""How long a store is kept after another generation took over: longer than any request."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """What the registry says: the active generation, the epoch of the write database it was built from, where known, and what stops it."""

    number: int = FIRST
    epoch: str | None = None
    stopped: Stopped | None = None


class GenerationStore(ReadStore, Protocol):
    """A read store, one generation of it; it can also read the registry, and make the store of another generation."""

    number: int

    async def pointer(self) -> Pointer:
        """What the registry says now; a missing one says that generation 1 is active. Raises StoreDownError."""

    def generation(self, number: int) -> Self: ...


Store = TypeVar("Store", bound=GenerationStore)


class ActiveGeneration(Generic[Store]):
    """The active generation's store."""

    def __init__(self, first: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.projection = first.projection
        self._template = first
        self._stores = {first.number: first}
        self._current = first
        self._retiring: dict[int, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._known = SingleFlightCache(self._resolve, REMEMBERED_S, clock)
        self.pointer = Pointer(first.number)
        """What the registry said last."""
        self.switched: Callable[[int], None] = lambda _: None
        """Hears of every generation that becomes the one to read."""

    @property
    def number(self) -> int:
        """The generation that was found to be active last."""
        return self._current.number

    async def store(self) -> Store:
        """The store to read from now. Raises StoreDownError."""
        return await self._known.get()

    def at(self, number: int) -> Store | None:
        """The store of a generation that is active, or was a moment ago."""
        return self._stores.get(number)

    def forget(self) -> None:
        """The registry has changed: whoever comes next reads it."""
        self._known.forget()

    async def moved_on_from(self, gone: GenerationGoneError) -> bool:
        """Whether another generation is active by now than the one that is gone. Raises StoreDownError."""
        self.forget()
        return (await self.store()).number != gone.number

    async def close(self) -> None:
        for handle in self._retiring.values():
            handle.cancel()
        for store in self._stores.values():
            await store.close()
        await asyncio.gather(*self._closing)

    async def _resolve(self) -> Store:
        pointer = await self._current.pointer()
        self.pointer = pointer
        if pointer.number != self._current.number:
            self._retire(self._current)
            self._current = self._opened(pointer.number)
            self.switched(pointer.number)
        return self._current

    def _opened(self, number: int) -> Store:
        if handle := self._retiring.pop(number, None):
            handle.cancel()
        if number not in self._stores:
            self._stores[number] = self._template.generation(number)
        return self._stores[number]

    def _retire(self, store: Store) -> None:
        def close() -> None:
            del self._stores[store.number], self._retiring[store.number]
            closing = asyncio.create_task(store.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

        self._retiring[store.number] = asyncio.get_running_loop().call_later(RETIRED_S, close)
