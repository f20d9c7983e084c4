"""A telemetry store of its own, empty, and verify on it."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import asyncpg
import pytest

from deploy.servers.provide import Servers
from deploy.verify.models import Problems
from deploy.verify.postgres import PREFER_INDEXES, PostgresModel, with_statements
from projectors.models.telemetry.options import TelemetryOptions
from projectors.models.telemetry.projection import fold
from projectors.models.telemetry.store import TelemetryStore
from projectors.models.telemetry.tables import RETENTION, TABLES
from projectors.stores.migrations import migrate
from projectors.stores.port import Advance, Commit
from shared.runtime.postgres import connect_pool

SCHEMA = "telemetry_alone"


class Telemetry:
    """A store in a schema of its own, and what a test asks of it. ``advances``: everything committed so far."""

    def __init__(self, store: TelemetryStore, connection: asyncpg.Connection, model: PostgresModel[Any]) -> None:
        self.store = store
        self.connection = connection
        self._model = model
        self.advances: list[Advance] = []

    async def commit(self, *advances: Advance) -> None:
        await self.store.commit(Commit(advances))
        self.advances += advances

    async def problems(self) -> Problems:
        """What verify finds, given all events that were committed."""
        streams = sorted({advance.stream for advance in self.advances})
        whole = [
            Advance(stream, 0, [event for each in self.advances if each.stream == stream for event in each.events])
            for stream in streams
        ]
        async with self._model.snapshot(streams) as snapshot:
            return await snapshot.problems(whole, {}, {})

    async def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.connection.fetch(query, *arguments)]


@pytest.fixture
async def open_telemetry(servers: Servers) -> AsyncIterator[Callable[..., Any]]:
    """Opens the store, empty, with these options."""
    url = servers.stores["telemetry"]
    opened: list[Telemetry] = []

    async def opening(options: TelemetryOptions | None = None) -> Telemetry:
        await migrate("telemetry", url, schema=SCHEMA)
        connection = await asyncpg.connect(url, timeout=5, server_settings={"search_path": f"{SCHEMA}, public"})
        store = TelemetryStore(url, SCHEMA, options)
        await store.open()
        pool = await connect_pool(url, schema=SCHEMA, read_only=True, max_size=1, session=PREFER_INDEXES)
        tables: Sequence[Any] = [await with_statements(pool, table.verified_through or table) for table in TABLES]
        model = PostgresModel("telemetry", 1, pool, fold, tables, keeps_discarded=True, retention=RETENTION)
        opened.append(Telemetry(store, connection, model))
        return opened[-1]

    yield opening
    for telemetry in opened:
        await telemetry._model.close()
        await telemetry.store.close()
        await telemetry.connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        await telemetry.connection.close(timeout=5)


@pytest.fixture
async def telemetry(open_telemetry: Callable[..., Any]) -> Telemetry:
    found: Telemetry = await open_telemetry()
    return found
