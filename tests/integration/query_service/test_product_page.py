"""A product's page and what is bought together with it, from a summary that its own projector has written."""

import asyncio
import itertools
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import asyncpg
import httpx
import pytest

from deploy.servers.provide import Servers
from projectors.models.summary.store import SummaryStore
from projectors.stores.migrations import files, migrate
from projectors.stores.port import Advance, Commit
from query_service.app import create_app
from query_service.http.requests import Stores
from query_service.live.change_listener import ChangeListener
from query_service.routes.shop import product_page
from query_service.stores import answer_cache
from query_service.stores.active_generation import Pointer
from query_service.stores.answer_cache import CAPACITY, AnswerCache
from query_service.stores.postgres_store import PostgresStore
from shared.contracts.orders import Line
from shared.messages.changes import ADVANCED, Advanced, AdvancedMessage
from shared.runtime.postgres import migrate as migrate_schema
from shared.views.generations import generation_name
from tests import shop
from tests.openapi import checked

BASKETS: Final = "SELECT order_id, products FROM baskets ORDER BY order_id"


@dataclass(frozen=True)
class Summary:
    schema: str
    store: SummaryStore
    owner: asyncpg.Connection
    stores: Stores
    client: httpx.AsyncClient

    async def commit(self, *advances: Advance) -> None:
        await self.store.commit(Commit(advances))

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    async def related(self, product_id: str, **params: int) -> list[tuple[str, int]]:
        answer = await self.client.get(f"/products/{product_id}/related", params=params)
        assert answer.status_code == 200, answer.text
        return [(one["product_id"], one["orders"]) for one in answer.json()["items"]]


@pytest.fixture
async def summary(servers: Servers) -> AsyncIterator[Summary]:
    schema, url = f"page_{secrets.token_hex(4)}", servers.stores["summary"]
    await migrate("summary", url, schema=schema)
    store = SummaryStore(url, schema)
    await store.open()
    owner = await asyncpg.connect(url, server_settings={"search_path": f"{schema}, public"})
    reader = PostgresStore("summary", servers.reader_stores["summary"], schema)
    stores = Stores(reader)
    app = create_app(stores, longest_wait_s=5)
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://query", event_hooks=checked(app)) as client:
        yield Summary(schema, store, owner, stores, client)
    await stores.close()
    await store.close()
    await owner.execute(f"DROP SCHEMA {schema} CASCADE")
    await owner.close(timeout=5)


def order(order_id: str, *products: str) -> Advance:
    return shop.run(f"orders/{order_id}", placed(order_id, *products))


def placed(order_id: str, *products: str) -> Any:
    return shop.placed(order_id, lines=[Line(product_id=each, quantity=1, amount=1) for each in products])


async def test_a_page_has_everything_that_is_shown_of_a_product(summary: Summary) -> None:
    await summary.commit(
        shop.run(
            "products/p-1",
            shop.created("p-1"),
            shop.repriced(price=60),
            shop.received(stock=7),
            shop.reviewed(rating=4),
        ),
        shop.run("products/p-2", shop.created("p-2", name="Milk", price=99)),
        *(order(f"o-{number}", "p-1", "p-2", "p-3") for number in range(2)),
        order("o-9", "p-1", "p-4"),
    )
    body = (await summary.get("/products/p-1/page")).json()
    product = (await summary.get("/products/p-1")).json()
    assert {name: body[name] for name in product} == product
    assert (body["stock"], body["rating_average"], body["review_count"], len(body["variants"])) == (7, 4.0, 1, 1)
    assert body["related"] == [
        {"product_id": "p-2", "name": "Milk", "price": 99, "currency": "EUR", "orders": 2},
        {"product_id": "p-3", "name": None, "price": None, "currency": None, "orders": 2},
    ]
    assert body["price_history"] == (await summary.get("/products/p-1/price-history")).json()["items"]
    assert product_page.ProductPage.model_validate(body)


async def test_a_page_has_the_latest_prices_alone(summary: Summary) -> None:
    prices = [shop.repriced(price=price) for price in range(100, 160)]
    await summary.commit(shop.run("products/p-1", shop.created(), *prices))
    history = (await summary.get("/products/p-1/page")).json()["price_history"]
    assert [point["price"] for point in history] == list(range(110, 160))


async def test_pages_of_products_that_are_not_there_are_404(summary: Summary) -> None:
    await summary.commit(order("o-1", "p-1", "p-2"))
    for path in ("/products/p-1/page", "/products/p-9/page", "/products/p-9/related"):
        answer = await summary.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "product-not-found"), path
    assert await summary.related("p-1", min_orders=1) == [("p-2", 1)]


async def test_related_products_are_counted_exactly_whatever_is_placed_and_cancelled(summary: Summary) -> None:
    chance = random.Random(7)
    products = [f"p-{number:02}" for number in range(12)]
    pairs: Counter[tuple[str, str]] = Counter()
    for first in range(0, 150, 30):
        batch = []
        for number in range(first, first + 30):
            bought = chance.choices(products, weights=range(1, 13), k=chance.randint(1, 6))
            facts = [placed(f"o-{number}", *bought)]
            if chance.random() < 0.2:
                facts.append(shop.cancelled(facts[0]))
            else:
                pairs.update(itertools.permutations(sorted(set(bought)), 2))
            batch.append(shop.run(f"orders/o-{number}", *facts))
        await summary.commit(*batch)
    for product in products:
        for floor, limit in ((1, 100), (2, 10), (5, 3)):
            found = [(other, count) for (one, other), count in pairs.items() if one == product and count >= floor]
            expected = sorted(found, key=lambda pair: (-pair[1], pair[0]))[:limit]
            assert await summary.related(product, min_orders=floor, limit=limit) == expected, product


async def test_an_order_that_is_cancelled_later_does_not_count_any_more(summary: Summary) -> None:
    await summary.commit(*(order(f"o-{number}", "p-1", "p-2") for number in range(3)))
    assert await summary.related("p-1") == [("p-2", 3)]
    await summary.commit(shop.run("orders/o-1", shop.cancelled(placed("o-1", "p-1", "p-2")), expected=1))
    assert await summary.related("p-1") == [("p-2", 2)]


async def test_baskets_of_orders_that_are_there_already_are_made_by_the_migration(servers: Servers) -> None:
    schema, url = f"page_{secrets.token_hex(4)}", servers.stores["summary"]
    migrations = files("summary")
    place = [one.name for one in migrations].index("0007_baskets.sql")
    await migrate_schema(url, migrations[:place], schema=schema, readable=True)
    owner = await asyncpg.connect(url, server_settings={"search_path": f"{schema}, public"})
    store = SummaryStore(url, schema)
    try:
        orders = [order("o-1", "b", "a", "b", "B"), order("o-2", "a"), order("o-3", "a", "c"), order("o-4", "a", "c")]
        cancelled = shop.run("orders/o-3", shop.cancelled(placed("o-3", "a", "c")), expected=1)
        await migrate("summary", url, schema=schema)
        await store.open()
        await store.commit(Commit(orders))
        await store.commit(Commit([cancelled]))
        written = await owner.fetch(BASKETS)
        # As older code left them, without baskets; then once more from the file.
        await owner.execute("DROP TABLE baskets")
        await owner.execute("DELETE FROM migrations WHERE name = '0007_baskets.sql'")
        assert await migrate("summary", url, schema=schema) == ["0007_baskets.sql"]
        assert [tuple(row) for row in await owner.fetch(BASKETS)] == [tuple(row) for row in written]
        assert [row["order_id"] for row in written] == ["o-1", "o-4"]
    finally:
        await store.close()
        await owner.execute(f"DROP SCHEMA {schema} CASCADE")
        await owner.close(timeout=5)


@pytest.fixture
def keeping(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer is worth keeping, for LONGEST_S."""
    summary.stores.answers = AnswerCache(CAPACITY)
    monkeypatch.setattr(answer_cache, "WORTH_S", 0.0)
    monkeypatch.setattr(answer_cache, "KEPT_PER_COST", 1e9)


async def advanced(summary: Summary, stream: str, version: int) -> None:
    """A change message, as the listener handles it."""
    listener = ChangeListener("", summary.stores)
    message = Advanced(projection="summary", streams=((stream, version),))
    envelope = AdvancedMessage(id="n", source="tests", type=ADVANCED, time=shop.NOON, data=message)
    listener._handle_message(envelope.model_dump_json().encode(), "")


@pytest.mark.usefixtures("keeping")
async def test_a_page_that_is_kept_has_the_time_it_was_read_at_until_its_product_changes(summary: Summary) -> None:
    await summary.commit(shop.run("products/p-1", shop.created()))
    await summary.owner.execute("INSERT INTO progress VALUES (0, $1, 1, now())", shop.NOON)
    first = await summary.get("/products/p-1/page")
    await summary.commit(shop.run("products/p-1", shop.repriced(price=77), expected=1))
    await summary.owner.execute("UPDATE progress SET as_of = $1", shop.NOON + timedelta(hours=1))
    kept = await summary.get("/products/p-1/page")
    assert (kept.content, kept.headers["ETag"]) == (first.content, first.headers["ETag"])
    assert kept.headers["Tidemark-As-Of"] == first.headers["Tidemark-As-Of"] == "2026-03-31T12:00:00Z"
    assert (await summary.get("/products/p-1/page", If_None_Match=first.headers["ETag"])).status_code == 304
    await advanced(summary, "products/p-1", 2)
    afresh = await summary.get("/products/p-1/page", If_None_Match=first.headers["ETag"])
    assert (afresh.status_code, afresh.json()["price"], afresh.json()["version"]) == (200, 77, 2)


@pytest.mark.usefixtures("keeping")
async def test_a_request_for_one_s_own_write_is_never_answered_from_what_is_kept(summary: Summary) -> None:
    await summary.commit(shop.run("products/p-1", shop.created()))
    assert (await summary.get("/products/p-1/page")).json()["version"] == 1
    await summary.commit(shop.run("products/p-1", shop.repriced(price=77), expected=1))
    token = {"Tidemark_Consistency": "products/p-1@2", "Prefer": "wait=2"}
    assert (await summary.get("/products/p-1/page", **token)).json()["version"] == 2
    assert (await summary.get("/products/p-1/page")).json()["version"] == 2
    not_yet = await summary.get("/products/p-1/page", Tidemark_Consistency="products/p-1@3")
    assert not_yet.status_code == 412


@pytest.mark.usefixtures("keeping")
async def test_questions_are_told_apart_and_the_first_client_s_condition_is_its_own(summary: Summary) -> None:
    await summary.commit(*(order(f"o-{number}", "p-1", "p-2", "p-3") for number in range(3)))
    tag = (await summary.get("/products/p-1/related?limit=1")).headers["ETag"]
    summary.stores.answers.clear("summary")
    answers = await asyncio.gather(
        summary.get("/products/p-1/related?limit=1", If_None_Match=tag),
        summary.get("/products/p-1/related?limit=1"),
        summary.get("/products/p-1/related?limit=2"),
        summary.get("/products/p-2/related?limit=1"),
    )
    assert [answer.status_code for answer in answers] == [304, 200, 200, 200]
    assert [[one["product_id"] for one in answer.json()["items"]] for answer in answers[1:]] == [
        ["p-2"],
        ["p-2", "p-3"],
        ["p-1"],
    ]


@pytest.mark.usefixtures("keeping")
async def test_an_answer_of_a_generation_that_is_replaced_is_not_given_any_more(
    summary: Summary, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    await summary.commit(shop.run("products/p-1", shop.created(name="of the first")))
    assert (await summary.get("/products/p-1/page")).json()["name"] == "of the first"
    url, second = servers.stores["summary"], generation_name(summary.schema, 2)
    await migrate("summary", url, schema=second)
    store = SummaryStore(url, second)
    await store.open()
    await store.commit(Commit([shop.run("products/p-1", shop.created(name="of the second"))]))

    async def second_is_active(_: PostgresStore) -> Pointer:
        return Pointer(2)

    monkeypatch.setattr(PostgresStore, "pointer", second_is_active)
    summary.stores.postgres("summary").forget()
    assert (await summary.get("/products/p-1/page")).json()["name"] == "of the second"
    await store.close()
    await summary.owner.execute(f"DROP SCHEMA {second} CASCADE")
