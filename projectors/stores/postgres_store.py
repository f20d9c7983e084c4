"""A read store in PostgreSQL: data, positions, holds and progress change in one transaction.

A subclass defines its data: ``fold`` (pure, before the transaction) and ``write`` (inside it). Positions move
first; every data row belongs to one stream, so the lock on the stream's position guards the row as well.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import ClassVar, Final, Generic, TypeVar

from projectors.stores import erasure, postgres_positions
from projectors.stores.erasure import in_erased_form, subjects_in
from projectors.stores.port import Advance, Commit, HoldStatus, Position, StoreUnavailableError, Turn
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.postgres import CONNECT_TIMEOUT_S, KEY_LOOKUPS, Connection, Database, is_outage
from shared.runtime.reasons import reason

COMMIT_TIMEOUT_S: Final = 60.0
POOL_SIZE: Final = 4

Changes = TypeVar("Changes")


class PostgresStore(ABC, Generic[Changes]):
    """``projectors.stores.port.Store`` on one PostgreSQL schema."""

    has_personal_data: ClassVar = False
    """Whether it stores personal data in clear: then it has the table ``erased_subjects``, and overwrites in ``erase``."""

    def __init__(self, url: str, schema: str, *, session: Mapping[str, str] | None = None) -> None:
        """``session``: server settings for this store's connections."""
        self._database = Database(url, schema=schema, max_size=POOL_SIZE, session=KEY_LOOKUPS | dict(session or {}))

    @abstractmethod
    def fold(self, advances: Sequence[Advance]) -> Changes:
        """The changes of the data that follow from the events. Pure. Raises ProjectionError."""

    @abstractmethod
    async def write(self, connection: Connection, changes: Changes) -> None:
        """Write what ``fold`` returned, in the commit's transaction. May raise ProjectionError."""

    async def erase(self, connection: Connection, subjects: Collection[str]) -> None:
        """Overwrite every row that has personal data of these subjects, in the commit's transaction. Only if it ``has_personal_data``."""

    async def open(self) -> None:
        with raising_unavailable():
            await self._database.pool()

    async def close(self) -> None:
        await self._database.close()

    async def positions(self, streams: Sequence[str]) -> dict[str, Position]:
        async with self._connection() as connection:
            return await postgres_positions.positions(connection, streams)

    async def behind(self, heads: Mapping[str, int]) -> dict[str, Position]:
        async with self._connection() as connection:
            return await postgres_positions.behind(connection, heads)

    async def commit(self, commit: Commit) -> None:
        changes = self.fold(commit.advances) if commit.advances else None
        with_data, erasing = subjects_in(commit.advances if self.has_personal_data else ())
        async with self._connection() as connection, connection.transaction():
            if with_data or erasing:
                gone = await erasure.begin(connection, with_data, erasing)
                if not gone.isdisjoint(with_data):
                    changes = self.fold(in_erased_form(commit.advances, gone))
            await postgres_positions.advance(connection, commit)
            if changes is not None:
                await self.write(connection, changes)
            if erasing:
                await self.erase(connection, erasing)
            await postgres_positions.hold(connection, commit)
            await postgres_positions.progress(connection, commit.progress)
            if commit.advances:
                reached(Failpoint.BEFORE_COMMIT)

    async def as_of(self) -> dict[int, datetime | None]:
        async with self._connection() as connection:
            return await postgres_positions.as_of(connection)

    async def overdue(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        async with self._connection() as connection:
            return await postgres_positions.overdue(connection, now, limit)

    async def unreported(self, now: datetime, limit: int) -> Sequence[tuple[str, int]]:
        async with self._connection() as connection:
            return await postgres_positions.unreported(connection, now, limit)

    async def held_by_status(self) -> Mapping[HoldStatus, int]:
        async with self._connection() as connection:
            return await postgres_positions.held_by_status(connection)

    async def release_others(self, kinds: Collection[str]) -> None:
        async with self._connection() as connection:
            await postgres_positions.release_others(connection, kinds)

    async def complete(self, turn: Turn) -> None:
        """No work is deferred here."""

    async def positions_page(self, cursor: str, limit: int) -> tuple[str, Sequence[tuple[str, int]]]:
        async with self._connection() as connection:
            return await postgres_positions.positions_page(connection, cursor, limit)

    async def discards(self, after: tuple[str, int], limit: int) -> Sequence[tuple[str, int]]:
        async with self._connection() as connection:
            return await postgres_positions.discards(connection, after, limit)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """A connection for at most COMMIT_TIMEOUT_S. Raises StoreUnavailableError for outages."""
        with raising_unavailable():
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                pool = await self._database.pool()
                async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                    yield connection


@contextmanager
def raising_unavailable() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if is_outage(error):
            raise StoreUnavailableError(reason(error)) from error
        raise
