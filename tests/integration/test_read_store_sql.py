"""Every statement of the read stores is valid against the migrated schema, and the hot ones use an index."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from deploy.compare.postgres_comparison import STORED_TABLES
from deploy.servers.provide import Servers
from projectors.models.search import store as search_store
from projectors.models.search.store import SearchStore
from projectors.models.summary import orders as summary_orders
from projectors.models.summary.store import SummaryStore
from projectors.stores import postgres_positions
from projectors.stores.migrations import files, migrate
from projectors.stores.port import Commit, StoreUnavailableError
from projectors.stores.tables import BOOKKEEPING, tables_of
from shared.read_models import READ_MODELS, StoreKind, named
from shared.runtime.postgres import KEY_LOOKUPS
from tests import shop
from tests.statements import statements

SCHEMA = "sql_{}"
OF_THE_REGISTRY = ("projectors.stores.postgres_registry", "projectors.stores.migrations")
"""Modules whose statements are about generations, in a schema of their own: ``test_generations_sql`` prepares them."""
JSON_COLUMNS = """
SELECT attname::text AS name FROM pg_attribute
WHERE attrelid = $1::text::regclass AND atttypid = 'json'::regtype AND NOT attisdropped
"""


@pytest.fixture(params=[model.name for model in READ_MODELS if model.store is StoreKind.POSTGRES])
async def database(request: pytest.FixtureRequest, servers: Servers) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    url = servers.stores[request.param]
    schema = SCHEMA.format(request.param)
    await migrate(request.param, url, schema=schema)
    connection = await asyncpg.connect(url, timeout=5, server_settings={"search_path": f"{schema}, public"})
    yield request.param, connection
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close(timeout=5)


async def test_every_statement_can_be_prepared(database: tuple[str, asyncpg.Connection]) -> None:
    projector, connection = database
    own = statements(f"projectors.models.{projector}")
    of_persons = () if named(projector).has_personal_data else ("projectors.stores.erasure",)
    shared = statements("projectors.stores", but=(*OF_THE_REGISTRY, *of_persons))
    for statement in (own | shared).values():
        await connection.prepare(statement)


async def test_every_table_is_as_its_descriptor_says(database: tuple[str, asyncpg.Connection]) -> None:
    projector, connection = database
    rows = await connection.fetch(STORED_TABLES, SCHEMA.format(projector))
    stored = {row["name"]: row for row in rows if row["name"] not in BOOKKEEPING}
    assert {row["name"] for row in rows} >= BOOKKEEPING - {"retention", "erased_subjects"}
    described = {table.name: table for table in tables_of(projector)}
    assert set(described) == set(stored)
    for name, table in described.items():
        assert sorted(table.columns) == sorted(stored[name]["columns"]), name
        assert list(table.key) == stored[name]["key"], name
        json = await connection.fetch(JSON_COLUMNS, f"{SCHEMA.format(projector)}.{name}")
        assert {row["name"] for row in json} <= set(table.json), name
        assert {table.stream, *table.json, *table.unverified, *table.replaces, *table.replaces.values()} <= set(
            table.columns
        ), name
        assert not {table.stream, *table.key} & {*table.unverified, *table.replaces}, name
        assert all(table.unverified.values()), "each says why"
        assert table.kind is None or table.kind in named(projector).kinds, name


async def test_migrating_again_changes_nothing(database: tuple[str, asyncpg.Connection], servers: Servers) -> None:
    projector, _ = database
    url = servers.stores["summary"] if projector == "summary" else servers.stores["search"]
    assert await migrate(projector, url, schema=SCHEMA.format(projector)) == []
    assert await migrate("analytics", url) == []
    assert files(projector)[0].name == "positions.sql"


@pytest.mark.parametrize("database", ["summary", "search"], indirect=True)
async def test_a_store_waits_for_tables_and_columns_that_are_still_to_be_migrated(
    database: tuple[str, asyncpg.Connection], servers: Servers
) -> None:
    projector, connection = database
    url = servers.stores["summary"] if projector == "summary" else servers.stores["search"]
    kind = SummaryStore if projector == "summary" else SearchStore
    for schema in ("sql_nowhere", SCHEMA.format(projector)):
        await connection.execute("ALTER TABLE orders DROP COLUMN IF EXISTS total")
        store = kind(url, schema)
        await store.open()
        with pytest.raises(StoreUnavailableError, match="Undefined"):
            await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
        await store.close()


@pytest.mark.parametrize("database", ["summary", "search"], indirect=True)
@pytest.mark.parametrize("statement", ["ADVANCE_STREAMS", "POSITIONS", "CONFIRM_LETTERS", "CHANGE_ORDERS"])
async def test_a_batch_is_found_by_its_keys_in_a_large_table(
    database: tuple[str, asyncpg.Connection], statement: str
) -> None:
    projector, connection = database
    module = summary_orders if projector == "summary" else search_store
    await connection.execute("INSERT INTO positions SELECT 'orders/' || n, 1 FROM generate_series(1, 20000) n")
    columns = {"summary": "now(), now(), 1, '{}'", "search": "now(), 1, '{}', ''"}[projector]
    await connection.execute(
        f"INSERT INTO orders SELECT n, 'c', 'placed', 'EUR', 1, 1, {columns} FROM generate_series(1, 20000) n"  # noqa: S608
    )
    await connection.execute(
        "INSERT INTO held SELECT 'orders/' || n, 'dead', 1, 1, 1, '', '', '', now(), now(), now() FROM generate_series(1, 20000) n"
    )
    await connection.execute("ANALYZE positions, orders, held")
    keys = [f"orders/{n}" for n in range(1, 20000, 200)]
    ones = [1] * len(keys)
    arguments: dict[str, list[list[Any]]] = {
        "ADVANCE_STREAMS": [keys, ones, ones],
        "POSITIONS": [keys],
        "CONFIRM_LETTERS": [keys, ones, ones],
        "CHANGE_ORDERS": [keys, ["{}"] * 100] if projector == "summary" else [keys, ["paid"] * 100, ones],
    }
    async with connection.transaction():
        for name, value in KEY_LOOKUPS.items():
            await connection.execute("SELECT set_config($1, $2, true)", name, value)
        plan = await connection.fetch(
            "EXPLAIN " + (vars(postgres_positions) | vars(module))[statement], *arguments[statement]
        )
    text = "\n".join(row[0] for row in plan)
    assert "Index" in text
    assert "Seq Scan" not in text
