"""Every statement fits the migrated schema, and the hot ones find what they need by index, however much there is."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from query_service.routes import customers, orders, products, search
from query_service.stores import postgres_store

pytestmark = pytest.mark.usefixtures("shop")

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SUMMARY = [
    orders.ORDER,
    orders.LIST,
    orders.CUSTOMER_IS_KNOWN,
    orders.HISTORY,
    customers.CUSTOMER,
    products.PRODUCT,
    products.LIST,
    products.PRICES,
    postgres_store._AS_OF,
    postgres_store._PROGRESS,
    postgres_store._STANDINGS,
]
SEARCH = [search.PRODUCTS, search.ORDERS, search.SIMILAR_WORD, search.ANY_PRODUCT]
HOT: list[tuple[str, str, tuple[Any, ...]]] = [
    ("summary", orders.ORDER, ("o01",)),
    ("summary", orders.LIST, (None, None, NOW, NOW, "", 51)),
    ("summary", orders.LIST, ("c1", None, NOW, NOW, "", 51)),
    ("summary", orders.LIST, (None, "paid", NOW, NOW, "", 51)),
    ("summary", orders.HISTORY, ("orders/o01", 0, 51)),
    ("summary", customers.CUSTOMER, ("c1",)),
    ("summary", products.PRODUCT, ("milk",)),
    ("summary", products.LIST, ("DAIRY", "", 51)),
    ("summary", products.PRICES, ("milk", 0, 51)),
    ("summary", postgres_store._STANDINGS, (["orders/o01"],)),
    ("search", search.ANY_PRODUCT, ("'milk'", "", "milk", False)),
    ("search", search.SIMILAR_WORD, (["milk"],)),
    ("search", search.ORDERS, (["'milk'"], "'milk'", "milk", 1.0, NOW, "", 51, [""], ["milk"], [False])),
]


PLANNED_ONCE: list[tuple[str, str, list[tuple[Any, ...]]]] = [
    ("summary", postgres_store._STANDINGS, [(["orders/o01"],), (["orders/o01", "orders/o02", "customers/c1"],)]),
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


@pytest.mark.parametrize(("schema", "statements"), [("summary", SUMMARY), ("search", SEARCH)])
async def test_every_statement_can_be_prepared_by_the_reader(
    query_urls: tuple[str, str], schema: str, statements: list[str]
) -> None:
    connection = await connected(query_urls[1], schema, INDEXES_ONLY)
    for statement in statements:
        await connection.prepare(statement)
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
