"""A process manager's store in a schema of its own, empty for each test."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest

from deploy.servers.provide import Servers
from projectors.process_runtime.migrations import migrate
from projectors.process_runtime.store import ProcessStore
from projectors.processes.process import Act, OperatorInput, ProcessManager
from projectors.stores.port import Commit
from shared.contracts.values import EventData
from shared.messages.outcomes import Accepted, OutcomeEnvelope, Rejected, outcome_id
from shared.processes import folder_of, source_of
from tests import shop
from tests.process_manager import NAME, PARCEL, POISON

TABLES = "processes, inputs, timers, commands, counters, positions, held, progress"


@dataclass
class Parcels:
    """The store, and what is in it."""

    store: ProcessStore
    db: asyncpg.Connection
    versions: dict[str, int] = field(default_factory=dict)

    async def event(self, stream: str, *facts: EventData) -> None:
        """The next events of the stream, applied."""
        expected = self.versions.get(stream, 0)
        await self.store.commit(Commit([shop.run(stream, *facts, expected=expected)]))
        self.versions[stream] = expected + len(facts)

    async def customer(self, process: str, *names: str) -> None:
        """Events of the stream ``customers/for-<process>``: registered under the first name, then renamed."""
        key = f"for-{process}"
        stream = f"customers/{key}"
        for name in names:
            fact = shop.renamed(key, name=name) if self.versions.get(stream) else shop.registered(key, name=name)
            await self.event(stream, fact)

    async def operator(self, process: str, act: Act, request: str = "r-1") -> None:
        async with self.store.transaction() as connection:
            given = OperatorInput(f"operator/{request}", shop.NOON, act, "ann", "because")
            await self.store.handle(connection, [(process, given)])

    async def row(self, process: str) -> Any:
        return await self.db.fetchrow("SELECT *, state->'seen' AS seen FROM processes WHERE id = $1", process)

    async def seen(self, process: str) -> list[str]:
        """What the process has been given, in order."""
        found: list[str] = await self.db.fetchval(
            "SELECT ARRAY(SELECT json_array_elements_text(state->'seen')) FROM processes WHERE id = $1", process
        )
        return found

    async def commands(self, process: str) -> list[str]:
        rows = await self.db.fetch("SELECT key FROM commands WHERE process = $1 ORDER BY seq", process)
        return [row["key"] for row in rows]

    async def timers(self, process: str) -> list[str]:
        rows = await self.db.fetch("SELECT name FROM timers WHERE process = $1 ORDER BY name", process)
        return [row["name"] for row in rows]

    async def due_now(self) -> None:
        await self.db.execute("UPDATE timers SET due_at = now() - interval '1 second'")

    async def outcome(self, process: str, key: str, *, code: str = "") -> OutcomeEnvelope:
        """The outcome of a command of the process, as the command service sends it."""
        statement = "SELECT command_id, type FROM commands WHERE process = $1 AND key = $2"
        (row,) = await self.db.fetch(statement, process, key)
        return outcome_of(self.store.manager, row["command_id"], row["type"], code=code)

    def redeployed(self, manager: ProcessManager) -> "Parcels":
        """The same data, with other code."""
        store = ProcessStore(manager, self.store.url)
        return Parcels(store, self.db, self.versions)


def outcome_of(manager: ProcessManager, command_id: str, command_type: str, *, code: str = "") -> OutcomeEnvelope:
    data = (
        Rejected(command_id=command_id, command_type=command_type, code=code, message="no")
        if code
        else Accepted(command_id=command_id, command_type=command_type, stream="orders/o-1", version=2, events=())
    )
    source = source_of(manager.name)
    return OutcomeEnvelope(
        id=outcome_id(source, command_id),
        source="tidemark/command-service",
        type="command.rejected" if code else "command.accepted",
        time=shop.NOON,
        commandsource=source,
        data=data,
    )


@pytest.fixture(scope="session")
async def process_schema(servers: Servers) -> str:
    await migrate(NAME, servers.processes_db_url)
    return servers.processes_db_url


@pytest.fixture
async def parcels(process_schema: str) -> AsyncIterator[Parcels]:
    POISON["active"] = True
    db = await asyncpg.connect(process_schema, server_settings={"search_path": folder_of(NAME)})
    await db.execute(f"TRUNCATE {TABLES} RESTART IDENTITY")
    store = ProcessStore(PARCEL, process_schema)
    try:
        yield Parcels(store, db)
    finally:
        await store.close()
        await db.close()


def names(rows: Sequence[Any]) -> list[str]:
    return [row["name"] for row in rows]
