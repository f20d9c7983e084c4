"""A database that is not the one it was begins a new epoch; and what a restore has lost is told by stream."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from command_service.handling import epochs
from command_service.publishing.version_comparison import compare_versions
from deploy.run.migrate import WRITE_MIGRATIONS
from shared.messages.control import CompareVersions
from shared.runtime.settings import Settings
from tests.integration.databases import database, write_database

ADD = "INSERT INTO events (stream, version, envelope, epoch) VALUES ($1, $2, '{}', $3)"


@pytest.fixture
async def url(settings: Settings) -> AsyncIterator[str]:
    """A write database of its own."""
    async with write_database(settings) as found:
        yield found


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def test_a_database_keeps_its_epoch_and_a_copy_begins_another(url: str) -> None:
    async with connected(url) as connection:
        assert await epochs.current(connection) is None
        first = await epochs.ensure_current(connection)
        assert first == await epochs.ensure_current(connection) == await epochs.current(connection)
    name = urlsplit(url).path.removeprefix("/")
    server = urlsplit(url)._replace(path="/postgres").geturl()
    async with database(server, f"CREATE DATABASE {{name}} TEMPLATE {name}") as copy, connected(copy) as connection:
        assert await epochs.current(connection) is None
        second = await epochs.ensure_current(connection)
        assert (second.number, second.name != first.name) == (2, True)
        reasons = [row["reason"] for row in await connection.fetch("SELECT reason FROM epochs ORDER BY number")]
        assert reasons == [epochs.FIRST_EPOCH, epochs.OTHER_DATABASE]


async def test_a_table_that_was_restored_in_place_begins_another(url: str) -> None:
    async with connected(url) as connection:
        first = await epochs.ensure_current(connection)
        await connection.execute("CREATE TABLE kept AS SELECT * FROM epochs")
        await connection.execute("DROP TABLE epochs")
        ddl = (WRITE_MIGRATIONS / "0003_epochs.sql").read_text().partition("-- In which epoch")[0]
        await connection.execute(ddl + (WRITE_MIGRATIONS / "0004_who_began_an_epoch.sql").read_text())
        await connection.execute("INSERT INTO epochs OVERRIDING SYSTEM VALUE SELECT * FROM kept")
        await connection.execute("ALTER TABLE epochs ALTER number RESTART WITH 2")
        assert (await epochs.ensure_current(connection)).name != first.name


async def test_what_is_ahead_is_told_by_what_there_was_before_the_first_unknown_epoch(url: str) -> None:
    async with connected(url) as connection:
        first = await epochs.ensure_current(connection)
        for stream, version, epoch in (("orders/old", 1, None), ("orders/o-1", 1, 1), ("orders/o-1", 2, 1)):
            await connection.execute(ADD, stream, version, epoch)
        second = await epochs.begin(connection, "a test", "ann")
        await connection.execute(ADD, "orders/o-1", 3, 2)  # under the number of one that was lost
        third = await epochs.begin(connection, "another", "bob")
        applied = (("orders/lost", 1), ("orders/o-1", 3), ("orders/old", 1))

        async def ahead(*known: str, epoch: str = third.name) -> list[tuple[str, int, int]]:
            asked = CompareVersions(
                projection="summary",
                generation=1,
                epoch=epoch,
                known=known,
                cursor="",
                following="",
                last=True,
                streams=applied,
            )
            found = await compare_versions(connection, asked)
            assert found is not None
            return list(found.ahead)

        assert await ahead(first.name) == [("orders/lost", 1, 0), ("orders/o-1", 3, 2)]
        assert await ahead(second.name, first.name) == [("orders/lost", 1, 0)]
        assert await ahead("unheard of") == [("orders/lost", 1, 0), ("orders/o-1", 3, 0)]
        stale = CompareVersions(
            projection="summary",
            generation=1,
            epoch=first.name,
            known=(),
            cursor="",
            following="",
            last=True,
            streams=(),
        )
        assert await compare_versions(connection, stale) is None
