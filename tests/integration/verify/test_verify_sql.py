"""Every statement of verify is valid in the database in which it runs."""

from collections.abc import Iterator
from typing import Any

import pytest

from deploy.verify.figures import Figures
from deploy.verify.laws.law_check import LawCheck
from deploy.verify.postgres import with_statements
from deploy.verify.spill import open_spill
from projectors.stores.tables import tables_of
from tests.integration.verify.dataset import Dataset
from tests.statements import statements, statements_by_module

IN_SQLITE = ("deploy.verify.spill", "deploy.verify.figures", "deploy.verify.laws.law_check")
IN_PROCESSES = "deploy.verify.laws.process_commands"
"""Prepared by ``tests/integration/processes``, where there is a process manager's schema."""


@pytest.fixture
def sqlite(dataset: Dataset) -> Iterator[Any]:
    with open_spill() as spill:
        Figures(spill, dataset.keys)
        LawCheck(spill)
        yield spill.database


@pytest.mark.parametrize("module", sorted({*statements_by_module("deploy.verify")} - {*IN_SQLITE, IN_PROCESSES}))
async def test_every_statement_can_be_prepared(dataset: Dataset, module: str) -> None:
    other_databases = {"deploy.verify.event_store": [dataset.write], "deploy.verify.operations": [dataset.operations]}
    for connection in other_databases.get(module, [dataset.summary, dataset.search]):
        for statement in statements(module).values():
            await connection.prepare(statement)


@pytest.mark.parametrize("module", IN_SQLITE)
async def test_every_statement_of_the_spill_can_be_prepared(sqlite: Any, module: str) -> None:
    for statement in statements(module).values():
        sqlite.execute(f"EXPLAIN {statement}", [None] * statement.count("?"))


@pytest.mark.parametrize("projection", ["summary", "search"])
async def test_the_statements_built_for_every_table_can_be_prepared(dataset: Dataset, projection: str) -> None:
    connection = dataset.summary if projection == "summary" else dataset.search
    for described in tables_of(projection):
        table = await with_statements(connection, described)
        for statement in (table.differing, table.strays):
            await connection.prepare(statement)
