"""The registry's statements are valid, and migrating brings every generation up to date."""

import asyncpg

from deploy.servers.provide import Servers
from projectors.stores import migrations
from projectors.stores.postgres_registry import PostgresRegistry
from shared.contracts.registry import KINDS
from shared.views.generations import generation_name, registry_schema
from tests.integration.test_read_store_sql import OF_THE_REGISTRY
from tests.statements import statements

NUMBER = 77


async def test_every_statement_about_generations_can_be_prepared(servers: Servers) -> None:
    await migrations.migrate("search", servers.stores["search"])
    connection = await asyncpg.connect(
        servers.stores["search"], timeout=5, server_settings={"search_path": registry_schema("search")}
    )
    for statement in statements(*OF_THE_REGISTRY, "shared.views.generations").values():
        await connection.prepare(statement)
    await connection.close(timeout=5)


async def test_migrating_brings_every_generation_up_to_date(servers: Servers) -> None:
    url = servers.stores["search"]
    await migrations.migrate("search", url)
    registry = PostgresRegistry("search", url)
    schema = generation_name("search", NUMBER)
    await registry.begin(NUMBER, kinds=KINDS, rate=None, by="a test")
    connection = await asyncpg.connect(url, timeout=5, server_settings={"search_path": schema})
    try:
        await connection.execute("DROP TABLE discarded")
        await connection.execute("DELETE FROM migrations WHERE name = 'discarded.sql'")
        assert await migrations.migrate("search", url) == ["discarded.sql"]
        assert await connection.fetchval("SELECT count(*) FROM discarded") == 0
        assert await migrations.migrate("search", url) == []
    finally:
        await connection.close(timeout=5)
        await registry.drop(NUMBER)
        await registry.close()
