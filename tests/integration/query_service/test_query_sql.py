"""Every statement fits the migrated schema, and the hot ones find what they need by index, however much there is."""

import re
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from query_service.http import documents
from query_service.routes.accounts import users
from query_service.routes.bookings import bookings, doctors, search_doctors
from query_service.routes.payments import payments
from query_service.routes.shop import customers, orders, product_page, products, search
from query_service.stores import postgres_store
from shared.read_models import READ_MODELS, StoreKind
from shared.views.generations import registry_schema
from tests.statements import statements, statements_by_module

pytestmark = pytest.mark.usefixtures("shop")

IN_POSTGRES = {model.name for model in READ_MODELS if model.store is StoreKind.POSTGRES}
NOW = datetime(2026, 3, 1, tzinfo=UTC)
READS = re.compile(r'stores\.postgres\("(\w+)"\)')
"""How a module of routes says which read model it reads."""
HOT: list[tuple[str, str, tuple[Any, ...]]] = [
    ("summary", orders.ORDER, ("o01",)),
    ("summary", orders.LIST, (None, None, NOW, NOW, "", 51)),
    ("summary", orders.LIST, ("c1", None, NOW, NOW, "", 51)),
    ("summary", orders.LIST, (None, "paid", NOW, NOW, "", 51)),
    ("summary", documents.HISTORY, ("orders/o01", 0, 51)),
    ("summary", customers.CUSTOMER, ("c1",)),
    ("summary", products.PRODUCT, ("milk",)),
    ("summary", users.USER, ("u01",)),
    ("summary", users.LIST, (None, None, "", 51)),
    ("summary", users.LIST, ("admin", None, "", 51)),
    ("summary", users.LIST, (None, True, "", 51)),
    ("summary", users.LIST, ("admin", False, "", 51)),
    ("summary", users.AUDIT, ("u01", 0, 51)),
    ("summary", users.CHANGES_UNTIL, ("u01", 0, NOW, 500)),
    ("summary", users.CREATED_AT, ("u01",)),
    ("summary", products.LIST, ("DAIRY", "", 51)),
    ("summary", payments.PAYMENT, ("y01",)),
    ("summary", payments.LIST, (None, None, "", 51)),
    ("summary", payments.LIST, ("o01", None, "", 51)),
    ("summary", payments.LIST, ("o01", "captured", "", 51)),
    ("summary", payments.LIST, (None, "captured", "", 51)),
    ("summary", products.PRICES, ("milk", 0, 51)),
    ("summary", product_page.PAGE, ("milk", 2, 10, 50)),
    ("summary", product_page.RELATED, ("milk", 2, 10)),
    ("summary", bookings.BOOKING, ("b",)),
    ("summary", bookings.LIST, (None, None, None, NOW, "", NOW, 51)),
    ("summary", bookings.LIST, (None, None, "pending", NOW, "", NOW, 51)),
    ("summary", bookings.LIST, (None, "p", None, NOW, "", NOW, 51)),
    ("summary", bookings.LIST, ("d", "p", "pending", NOW, "", NOW, 51)),
    ("summary", doctors.BUSY, ("d", NOW, NOW, ["pending"], timedelta(minutes=480))),
    ("summary", postgres_store._POSITIONS, (["orders/o01"],)),
    ("search", search.WITHOUT_FACTS, ()),
    ("search", search.ANY_PRODUCT, ("'milk'", "", "milk", False)),
    ("search", search.SIMILAR_WORD, (["milk"],)),
    ("search", search_doctors.DOCTORS, ("'ann'", "'ann'", None, [], None, 9.0, "", 51)),
    ("search", search_doctors.SIMILAR_NAME, (["ann"],)),
    ("search", search.ORDERS, (["'milk'"], "'milk'", "milk", 1.0, NOW, "", 51, [""], ["milk"], [False])),
]


PLANNED_ONCE: list[tuple[str, str, list[tuple[Any, ...]]]] = [
    ("summary", postgres_store._POSITIONS, [(["orders/o01"],), (["orders/o01", "orders/o02", "customers/c1"],)]),
    (
        "search",
        search.ORDERS,
        [
            (["'milk'"], "'milk'", "milk", 1.0, NOW, "", 51, [""], ["milk"], [False]),
            (["'milk'", "'whole'"], "", "whole milk", 9.0, NOW, "o", 5, ["whole ", ""], [None, "mil"], [False, False]),
        ],
    ),
]
INDEXES_ONLY = {"enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"}


async def connected(url: str, schema: str, settings: dict[str, str]) -> asyncpg.Connection:
    return await asyncpg.connect(url, server_settings={"search_path": f"{schema}, public", **settings})


def read_by(module: str) -> set[str]:
    """A module that names no read model, such as what all stores have in common, is meant for each."""
    text = Path(import_module(module).__file__ or "").read_text()
    return set(READS.findall(text)) or IN_POSTGRES


@pytest.mark.parametrize("module", statements_by_module("query_service"))
async def test_every_statement_can_be_prepared_by_the_reader(query_urls: tuple[str, str], module: str) -> None:
    for schema in read_by(module):
        connection = await connected(query_urls[1], f"{schema}, {registry_schema(schema)}", INDEXES_ONLY)
        try:
            for statement in statements(module).values():
                await connection.prepare(statement)
        finally:
            await connection.close()


@pytest.mark.parametrize(("schema", "statement", "arguments"), HOT)
async def test_hot_statements_read_no_table_whole(
    query_urls: tuple[str, str], schema: str, statement: str, arguments: tuple[Any, ...]
) -> None:
    connection = await connected(query_urls[1], schema, INDEXES_ONLY)
    plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *arguments))
    await connection.close()
    assert "Seq Scan" not in plan, plan
    assert "Index" in plan, plan


@pytest.mark.parametrize(("schema", "statement", "questions"), PLANNED_ONCE)
async def test_statements_over_arrays_are_planned_once_whatever_is_asked(
    query_urls: tuple[str, str], schema: str, statement: str, questions: list[tuple[Any, ...]]
) -> None:
    connection = await connected(query_urls[1], schema, {})
    prepared = await connection.prepare(statement)
    for place in range(10):
        await prepared.fetch(*questions[place % len(questions)])
    generic = await connection.fetchval(
        "SELECT generic_plans FROM pg_prepared_statements WHERE statement = $1", statement
    )
    await connection.close()
    assert generic == 5  # the server tries five times whether it is better to know what is asked
