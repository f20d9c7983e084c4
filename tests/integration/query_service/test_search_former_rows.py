"""Rows that were written before the projector said which words a text has: found as they were, beside those written since."""

from collections.abc import AsyncIterator
from typing import Final

import asyncpg
import pytest

from deploy.servers.provide import Servers
from projectors.stores.migrations import files, migrate
from projectors.stores.port import Commit
from shared.contracts.orders import Line
from shared.runtime.postgres import migrate as migrate_schema
from tests import shop
from tests.integration.query_service.searching import Searching, product, searching

# What an older projector does, which may still be running.
FORMER_PRODUCT: Final = """
INSERT INTO products (product_id, name, description, category, brand, price, currency, version)
VALUES ($1, $2, NULL, 'Goods', NULL, 1, 'EUR', 1)
"""
FORMER_CUSTOMER: Final = "INSERT INTO customers (customer_id, name, version) VALUES ($1, $2, 1)"
FORMER_ORDER: Final = """
INSERT INTO orders (order_id, customer_id, status, currency, item_count, total, placed_at, version, unnamed, words)
VALUES ($1, $2, 'placed', 'EUR', 1, 1, now(), 1, $3, setweight(to_tsvector('simple', $1), 'A')
    || setweight(to_tsvector('simple', $4), 'B') || setweight(to_tsvector('simple', $2), 'C'))
"""
CHANGE_FORMER_ORDER: Final = "UPDATE orders SET status = 'paid', version = 2 WHERE order_id = $1"

FOUND: Final = {
    "milk": {"whole", "skimmed"},
    "MIL": {"whole", "skimmed"},
    "whole milk": {"whole"},
    "milk -whole": {"skimmed"},
    '"whole milk"': {"whole"},
    '"milk whole"': set(),
    "crème or brea": {"creme", "bread"},
    "crè": {"creme"},
    "semi-skimmed": {"skimmed"},
    "skimm": {"skimmed"},
    "red/green": {"scarf"},
    "1.5l": {"water"},
    "mugs": {"mugs"},
}
NAMES: Final = {
    "whole": "Whole milk",
    "skimmed": "Semi-skimmed milk",
    "creme": "Crème",
    "bread": "Bread",
    "scarf": "RED/GREEN SCARF",
    "water": "Water 1.5L",
    "mugs": "Mugs",
    "mug": "Mug",
}
SINCE: Final = {"since": "Whole-milk crème", "pot": "mug of mugs"}
ORDERS: Final = {product_id: str(number) for number, product_id in enumerate([*NAMES, *SINCE], 100)}
"""Product → the order of it."""


async def fill(owner: asyncpg.Connection) -> None:
    """As an older projector writes them: products, an order for each, and one by its products' names and its customer's."""
    for product_id, name in NAMES.items():
        await owner.execute(FORMER_PRODUCT, product_id, name)
        await owner.execute(FORMER_ORDER, ORDERS[product_id], "c-2", [], name)
    await owner.execute(FORMER_CUSTOMER, "c-1", "Zoë Smith")
    await owner.execute(FORMER_ORDER, "99", "c-1", ["scarf"], "")


@pytest.fixture(params=["migrated since", "of an older projector beside this one"])
async def former(servers: Servers, request: pytest.FixtureRequest) -> AsyncIterator[Searching]:
    async with searching(servers, migrated=False) as store:
        migrations = files("search")
        terms = [one.name for one in migrations].index("0004_terms.sql")
        before, since = migrations[:terms], migrations[terms:]
        await migrate_schema(servers.stores["search"], before, schema=store.schema, readable=True)
        if request.param == "migrated since":
            await fill(store.owner)
        assert await migrate("search", servers.stores["search"], schema=store.schema) == [one.name for one in since]
        if request.param != "migrated since":
            await fill(store.owner)
        yield store


async def test_former_rows_are_found_as_they_were(former: Searching) -> None:
    for q, found in FOUND.items():
        assert set(await former.found(q)) == found, q
        expected = {ORDERS[one] for one in found} | ({"99"} if "scarf" in found else set())
        assert set(await former.found(q, "/search/orders")) == expected, q
    assert set(await former.found("zoë smi", "/search/orders")) == {"99"}
    assert set(await former.found("red/green smith", "/search/orders")) == {"99"}
    assert (await former.client.get("/search/products?q=skimed&max_price=1")).json()["matched"] == "similar"
    assert (await former.client.get("/search/products?q=skimmed&max_price=0")).json()["matched"] == "words"


async def test_former_rows_and_those_written_since_are_found_together(former: Searching) -> None:
    await former.products(SINCE)
    for product_id, name in SINCE.items():
        order_id, line = ORDERS[product_id], Line(product_id=product_id, name=name, quantity=1, amount=1)
        placed = shop.placed(order_id, customer_id="c-1", lines=[line])
        await former.store.commit(Commit([shop.run(f"orders/{order_id}", placed)]))
    for q, found in {
        "milk": {"whole", "skimmed", "since"},
        "milk -whole": {"skimmed"},
        "creme": {"since"},
        "crème": {"creme", "since"},
        "wholemilk": {"since"},
        "mugs": {"mugs", "pot"},
        '"whole milk"': {"whole", "since"},
    }.items():
        assert set(await former.found(q)) == found, q
        assert set(await former.found(q, "/search/orders")) == {ORDERS[one] for one in found}, q
    assert set(await former.found("zoë mug", "/search/orders")) == {ORDERS["pot"]}


async def test_a_former_row_is_found_by_its_new_words_once_its_text_changes(former: Searching) -> None:
    repriced = shop.run("products/creme", shop.repriced("creme"))
    paid = shop.run(f"orders/{ORDERS['creme']}", shop.paid(ORDERS["creme"]))
    await former.store.commit(Commit([repriced, paid]))
    assert (await former.found("crème"), await former.found("creme")) == (["creme"], [])
    assert await former.found("crème", "/search/orders") == [ORDERS["creme"]]
    renamed = shop.run("products/creme", shop.updated("creme", name="Crème/brûlée"), expected=1)
    customer = shop.run("customers/c-1", shop.renamed(name="Zoë Jones"))
    await former.store.commit(Commit([renamed, customer]))
    assert await former.found("brulee") == ["creme"]
    assert (await former.found("zoe", "/search/orders"), await former.found("smith", "/search/orders")) == (
        ["99"],
        [],
    )


async def test_an_older_projector_changes_what_this_one_wrote(former: Searching) -> None:
    placed = shop.placed("o-1", lines=[Line(product_id="x", name="Thé/café", quantity=1, amount=1)])
    await former.store.commit(Commit([product("x", "Thé/café"), shop.run("orders/o-1", placed)]))
    assert await former.owner.execute(CHANGE_FORMER_ORDER, "o-1") == "UPDATE 1"
    assert await former.found("cafe", "/search/orders") == ["o-1"]
