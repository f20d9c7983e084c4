"""The request type of all handlers, with access to the stores."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
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
from query_service.stores.answer_cache import AnswerCache
from query_service.stores.operations_store import OperationsStore
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.http import prefer
from shared.messaging.announcing import Processes
from shared.processes import UnknownProcessError
from shared.processes import named as process_kinds
from shared.read_models import NAMES, UnknownReadModelError, named

HEAD: Final = "tidemark.head"
"""Key in the scope of a HEAD request, which is handled as GET without the body."""


class Stores:
    """The read stores of one application, and the operations database."""

    def __init__(
        self,
        *stores: PostgresStore | RedisStore,
        operations: OperationsStore | None = None,
        process_managers: Sequence[PostgresStore] = (),
        answers: AnswerCache | None = None,
    ) -> None:
        """``stores``: the first generation of each projection, which serves as the template for the others. ``answers``: default: none
        are kept."""
        self._active: Mapping[str, ActiveGeneration[Any]] = {
            each.projection: ActiveGeneration(each, kinds=named(each.projection).kinds)
            for each in sorted(stores, key=lambda one: NAMES.index(one.projection))
        }
        self._process_managers: Mapping[str, ActiveGeneration[PostgresStore]] = {
            each.projection: ActiveGeneration(each, kinds=process_kinds(each.projection).kinds)
            for each in process_managers
        }
        self.operations = operations or OperationsStore("")
        self.answers = answers or AnswerCache(0)
        """Answers of some routes, kept for other requests."""
        self.waiting = {
            active.projection: PositionWaiters(active) for active in (*self.all, *self._process_managers.values())
        }
        """Projection → the requests that wait for its streams."""
        self.broadcast = Broadcast()
        """Updates for event streams."""
        self.processes = Processes()
        """The states reported by the worker, the relay and the projectors."""
        self.monitors = {active.projection: FreshnessMonitor(active, self.processes) for active in self.all}
        """Projection → whether it is current, behind or stalled."""
        self.process_monitors = {
            active.projection: FreshnessMonitor(active, self.processes) for active in self._process_managers.values()
        }
        """Process manager → the same."""
        self.changes_trouble: Callable[[], str | None] = lambda: None
        """Why no change messages are received; None if they are, or if RabbitMQ is not configured."""

    @property
    def all(self) -> Collection[ActiveGeneration[Any]]:
        """The active generations of all projections; readiness and freshness check these."""
        return self._active.values()

    def postgres(self, name: str) -> ActiveGeneration[PostgresStore]:
        """The active generation of a read model in PostgreSQL. Raises UnknownReadModelError."""
        return self.of(name)

    def redis(self, name: str) -> ActiveGeneration[RedisStore]:
        """The active generation of a read model in Redis. Raises UnknownReadModelError."""
        return self.of(name)

    def process_manager(self, name: str) -> ActiveGeneration[PostgresStore]:
        """The store of a process manager, of which there is one generation. Raises UnknownProcessError."""
        try:
            return self._process_managers[name]
        except KeyError as error:
            raise UnknownProcessError(name) from error

    def of(self, name: str) -> ActiveGeneration[Any]:
        """The active generation of any read model. Raises UnknownReadModelError."""
        try:
            return self._active[name]
        except KeyError as error:
            raise UnknownReadModelError(name) from error

    async def moved_on_from(self, gone: GenerationGoneError) -> bool:
        """Whether another generation of that projection is active now. Raises StoreDownError."""
        return gone.store in self._active and await self.of(gone.store).moved_on_from(gone)

    async def watch(self) -> None:
        """Monitor the freshness and the active generation of every projection until cancelled."""
        await asyncio.gather(*(monitor.watch() for monitor in self.monitors.values()))

    async def end_waiting(self) -> None:
        """Answer waiting requests from the current positions and end all event streams. Returns when the streams have ended."""
        for waiting in self.waiting.values():
            waiting.end()
        await self.broadcast.end()

    async def close(self) -> None:
        for active in (*self.all, *self._process_managers.values()):
            await active.close()
        await self.operations.close()


class QueryRequest(Request[Any, Any, State]):
    @property
    def stores(self) -> Stores:
        stores: Stores = self.app.state.stores
        return stores

    async def read(self, active: ActiveGeneration[Store]) -> tuple[Store, Mapping[str, str]]:
        """The store from which the whole response is read, and the headers to send with it.

        The store has applied the writes required by ``Tidemark-Consistency``. Raises StoreDownError, ConsistencyNotMetError,
        InvalidParameterError.
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
