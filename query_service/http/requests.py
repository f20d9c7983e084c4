"""The request as handlers get it: with the stores at hand."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from litestar import Request
from litestar.datastructures import State

from query_service.consistency import tokens
from query_service.consistency.freshness_monitor import FreshnessMonitor
from query_service.consistency.own_writes import with_own_writes
from query_service.consistency.waiting import PositionWaiters
from query_service.http.operators import Operators
from query_service.http.problems import GenerationGoneError
from query_service.live.broadcast import Broadcast
from query_service.stores.active_generation import ActiveGeneration, Store
from query_service.stores.operations_store import OperationsStore
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.http import prefer
from shared.messaging.announcing import Processes
from shared.read_models import UnknownReadModelError

HEAD: Final = "tidemark.head"
"""In the scope of a request that is answered as GET would be, without the body."""


class Stores:
    """The read stores of one application, and the operations database beside them."""

    def __init__(self, *stores: PostgresStore | RedisStore, operations: OperationsStore | None = None) -> None:
        """``stores``: of each projection the first generation; the others are made after it."""
        self._active: Mapping[str, ActiveGeneration[Any]] = {each.projection: ActiveGeneration(each) for each in stores}
        self.operations = operations or OperationsStore("")
        self.waiting = {active.projection: PositionWaiters(active) for active in self.all}
        """Who waits for what in each projection."""
        self.live = Broadcast()
        """What happens, told to whoever listens."""
        self.processes = Processes()
        """What the worker, the relay and the projectors say of themselves."""
        self.movements = {active.projection: FreshnessMonitor(active, self.processes) for active in self.all}
        """Whether each comes on."""
        self.news_trouble: Callable[[], str | None] = lambda: None
        """Why no news come in, where they should."""

    @property
    def all(self) -> Collection[ActiveGeneration[Any]]:
        """Of every projection: those that readiness and freshness are about."""
        return self._active.values()

    def postgres(self, name: str) -> ActiveGeneration[PostgresStore]:
        """Of a read model in PostgreSQL. Raises UnknownReadModelError."""
        return self.of(name)

    def redis(self, name: str) -> ActiveGeneration[RedisStore]:
        """Of a read model in Redis. Raises UnknownReadModelError."""
        return self.of(name)

    def of(self, name: str) -> ActiveGeneration[Any]:
        """Of any read model. Raises UnknownReadModelError."""
        try:
            return self._active[name]
        except KeyError as error:
            raise UnknownReadModelError(name) from error

    async def moved_on_from(self, gone: GenerationGoneError) -> bool:
        """Whether another generation of that projection is active by now. Raises StoreDownError."""
        return await self.of(gone.store).moved_on_from(gone)

    async def watch(self) -> None:
        """See, until cancelled, whether the projections come on, and which generations are active."""
        await asyncio.gather(*(movement.watch() for movement in self.movements.values()))

    async def end_waiting(self) -> None:
        """Who waits for a write is answered by where things stand, who listens comes to the end; return when he has."""
        for waiting in self.waiting.values():
            waiting.end()
        await self.live.end()

    async def close(self) -> None:
        for active in self.all:
            await active.close()
        await self.operations.close()


class QueryRequest(Request[Any, Any, State]):
    @property
    def stores(self) -> Stores:
        stores: Stores = self.app.state.stores
        return stores

    async def read(self, active: ActiveGeneration[Store]) -> tuple[Store, Mapping[str, str]]:
        """The store that all of this answer is read from, and the headers to send with what is read from now on.

        It has what ``Tidemark-Consistency`` asks for. Raises StoreDownError, UnmetError, InvalidParameterError.
        """
        wanted = tokens.tokens(self.headers.getall(tokens.HEADER, []))
        if not wanted:
            store = await active.store()
            return store, await store.headers()
        seconds = prefer.wait(self.headers.getall(prefer.HEADER, []), self.app.state.longest_wait_s)
        applied = {prefer.APPLIED: f"wait={seconds}"} if seconds else {}
        deadline = self.scope["state"].setdefault("deadline", time.monotonic() + seconds)
        stores = self.stores
        store = await with_own_writes(
            wanted,
            max(0.0, deadline - time.monotonic()),
            active=active,
            waiting=stores.waiting[active.projection],
            operations=stores.operations,
            headers=applied,
        )
        return store, {**await store.headers(), **applied}

    @property
    def operators(self) -> Operators:
        operators: Operators = self.app.state.operators
        return operators
