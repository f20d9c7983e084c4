"""Selects the generation of a projection to read: a request reads all its data from one generation, never from several.

The registry beside the data names the active generation (``shared.views.generations``); it is read at most one second before a request
uses it. If the generation has been dropped, GenerationGoneError is raised and the request is retried; stores in which dropped data
looks like missing data raise it as soon as the generation is no longer active. The store of a generation that was replaced stays open
for RETIRED_S, for the requests that still read it.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, Self, TypeVar

from query_service.http.problems import GenerationGoneError
from query_service.stores.port import ReadStore
from query_service.stores.single_flight_cache import SingleFlightCache
from shared.contracts.registry import KINDS
from shared.read_models import is_of
from shared.views.generations import FIRST, Incomplete, Stopped, incomplete

CACHED_S: Final = 1.0
RETIRED_S: Final = 60.0
"""How long a store stays open after another generation was activated: longer than any request."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """An entry of the registry: the active generation, the epoch of the write database it was built from, if known, and what stops it."""

    number: int = FIRST
    epoch: str | None = None
    stopped: Stopped | None = None
    kinds: Sequence[str] | None = None
    """The kinds of stream that it has; see ``Generation.kinds``."""


class GenerationStore(ReadStore, Protocol):
    """One generation of a read store; it also reads the registry, and creates the store of another generation."""

    number: int

    async def pointer(self) -> Pointer:
        """The current entry of the registry; without a registry, generation 1 is active. Raises StoreDownError."""

    def generation(self, number: int) -> Self: ...


Store = TypeVar("Store", bound=GenerationStore)


class ActiveGeneration(Generic[Store]):
    """Provides the store of the active generation. ``kinds``: the kinds of stream that the projection reads."""

    def __init__(
        self, first: Store, clock: Callable[[], float] = time.monotonic, *, kinds: Collection[str] = KINDS
    ) -> None:
        self.projection = first.projection
        self.kinds = kinds
        self._template = first
        self._stores = {first.number: first}
        self._current = first
        self._retiring: dict[int, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._cache = SingleFlightCache(self._resolve, CACHED_S, clock)
        self.pointer = Pointer(first.number)
        """The registry entry that was read last."""
        self.switched: Callable[[int], None] = lambda _: None
        """Called with the number of each generation that becomes active."""

    @property
    def number(self) -> int:
        """The active generation, as of the last read of the registry."""
        return self._current.number

    def reads(self, stream: str) -> bool:
        """Whether the projection may apply events of the stream. True also for a kind that this service does not know."""
        return is_of(self.kinds, stream) or not is_of(KINDS, stream)

    @property
    def incomplete(self) -> Incomplete | None:
        """The kinds of stream that the projection reads and the active generation does not have yet; None: it has all."""
        return incomplete(self.projection, self.kinds, self.pointer.kinds)

    async def store(self) -> Store:
        """The store of the active generation, as of at most one second ago. Raises StoreDownError."""
        return await self._cache.get()

    def at(self, number: int) -> Store | None:
        """The store of a generation that is active or was within RETIRED_S; otherwise None."""
        return self._stores.get(number)

    def forget(self) -> None:
        """The registry has changed: the next call of ``store`` reads it again."""
        self._cache.forget()

    async def moved_on_from(self, gone: GenerationGoneError) -> bool:
        """Whether a generation other than ``gone`` is active now. Raises StoreDownError."""
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
            self._current = self._store_of(pointer.number)
            self.switched(pointer.number)
        return self._current

    def _store_of(self, number: int) -> Store:
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
