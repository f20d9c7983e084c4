"""Every statement of verifying is valid in the database that it is run in."""

from collections.abc import Iterator
from typing import Any

import pytest

from deploy.verify.figures import Figures
from deploy.verify.postgres import with_statements
from deploy.verify.spill import spilled
from projectors.stores.tables import tables_of
from tests.integration.verify.town import Town
from tests.statements import statements, statements_by_module

IN_SQLITE = ("deploy.verify.spill", "deploy.verify.figures")


@pytest.fixture
def sqlite(town: Town) -> Iterator[Any]:
    with spilled() as spill:
        Figures(spill, town.keys)
        yield spill.database


@pytest.mark.parametrize("module", sorted({*statements_by_module("deploy.verify")} - {*IN_SQLITE}))
async def test_every_statement_can_be_prepared(town: Town, module: str) -> None:
    elsewhere = {"deploy.verify.event_store": [town.write], "deploy.verify.operations": [town.operations]}
    for connection in elsewhere.get(module, [town.summary, town.search]):
        for statement in statements(module).values():
            await connection.prepare(statement)


@pytest.mark.parametrize("module", IN_SQLITE)
async def test_every_statement_of_the_spill_can_be_prepared(sqlite: Any, module: str) -> None:
    for statement in statements(module).values():
        sqlite.execute(f"EXPLAIN {statement}", [None] * statement.count("?"))


@pytest.mark.parametrize("projection", ["summary", "search"])
async def test_the_statements_built_for_every_table_can_be_prepared(town: Town, projection: str) -> None:
    connection = town.summary if projection == "summary" else town.search
    for described in tables_of(projection):
        table = await with_statements(connection, described)
        for statement in (table.differing, table.strays):
            await connection.prepare(statement)
