"""Every statement that reads the operations database fits its schema, for one who may only read."""

import asyncpg
import pytest

from deploy.servers.provide import Servers
from shared.runtime.settings import Settings
from shared.views import operations
from tests.statements import statements

OF_OTHER_DATABASES = ("shared.views.generations", "shared.views.processes")


async def test_the_reader_may_run_every_statement(servers: Servers, migrated: Settings) -> None:
    connection = await asyncpg.connect(
        servers.operations_reader_url, server_settings={"search_path": f"{operations.SCHEMA}, public"}
    )
    for statement in statements("shared.views", but=OF_OTHER_DATABASES).values():
        await connection.prepare(statement)
    await connection.close()


async def test_the_reader_may_write_nothing(servers: Servers, migrated: Settings) -> None:
    if servers.operations_reader_url == servers.operations_db_url:
        pytest.skip("these servers have no reader")
    connection = await asyncpg.connect(
        servers.operations_reader_url, server_settings={"search_path": operations.SCHEMA}
    )
    try:
        await connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("INSERT INTO audit (actor, act, reason) VALUES ('a', 'b', 'c')")
    finally:
        await connection.close()
