"""What a small story leaves in each read store, read the way the query service reads it."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from deploy.servers.provide import Servers
from projectors.models.analytics.store import AnalyticsStore
from projectors.models.search.store import SearchStore
from projectors.models.summary.store import SummaryStore
from projectors.stores.migrations import migrate
from projectors.stores.port import Advance, Commit, LaneProgress, ProjectionError, Store, StoreUnavailableError
from query_service.search import search_terms
from shared.contracts.orders import MAX_LINES, Line
from shared.contracts.values import MAX_AMOUNT
from shared.views.analytics import SALES, Dimension, Keys, sales_are_complete
from shared.views.summary import CustomerView, OrderDocument, ProductDocument
from tests import shop

GENERATION = "story"
KEYS = Keys(GENERATION)


async def story(store: Store) -> None:
    """o-1 is placed, paid and shipped; o-2 is placed and cancelled; in steps that a worker might take."""
    other = shop.placed("o-2", customer_id="c-2", currency="USD", at=shop.NOON - timedelta(days=1))
    steps: Sequence[Sequence[Advance]] = [
        [
            shop.run("products/p-1", shop.created(price=50), shop.received(stock=7)),
            shop.run("customers/c-1", shop.registered(name="Ada")),
            shop.run("orders/o-1", shop.placed()),
        ],
        [
            shop.run("orders/o-1", shop.paid(), shop.shipped(), expected=1),
            shop.run("orders/o-2", other),
            shop.run("products/p-1", shop.repriced(price=60), shop.reviewed(count=3, total=11), expected=2),
        ],
        [
            shop.run("orders/o-2", shop.cancelled(other), expected=1),
            shop.run("products/p-1", shop.updated(name="Red banana"), expected=4),
            shop.run("customers/c-1", shop.renamed(name="Ada L."), shop.new_email(), shop.moved(), expected=1),
        ],
    ]
    for advances in steps:
        await store.commit(Commit(advances))


@pytest.fixture
async def summary(servers: Servers) -> AsyncIterator[tuple[Store, asyncpg.Connection]]:
    async for found in postgres("summary", SummaryStore, servers.stores["summary"]):
        yield found


@pytest.fixture
async def search(servers: Servers) -> AsyncIterator[tuple[Store, asyncpg.Connection]]:
    async for found in postgres("search", SearchStore, servers.stores["search"]):
        yield found


async def postgres(
    projector: str, cls: type[SummaryStore] | type[SearchStore], url: str
) -> AsyncIterator[tuple[Store, asyncpg.Connection]]:
    schema = f"{projector}_{GENERATION}"
    await migrate(projector, url, schema=schema)
    store = cls(url, schema)
    await store.open()
    connection = await asyncpg.connect(url, timeout=5, server_settings={"search_path": f"{schema}, public"})
    yield store, connection
    await store.close()
    await connection.execute(f"DROP SCHEMA {schema} CASCADE")
    await connection.close(timeout=5)


@pytest.fixture
async def analytics(servers: Servers) -> AsyncIterator[tuple[Store, Any]]:
    redis: Any = Redis.from_url(servers.stores["analytics"], decode_responses=True, socket_timeout=5)
    store = AnalyticsStore(servers.stores["analytics"], GENERATION)
    await store.open()
    yield store, redis
    await store.close()
    async for key in redis.scan_iter(f"{GENERATION}:*", count=1000):
        await redis.unlink(key)
    await redis.aclose()


async def test_an_order_that_another_stream_has_made_already_is_written_over_and_the_rest_of_the_commit_stays(
    summary: tuple[Store, asyncpg.Connection],
) -> None:
    store, connection = summary
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    again = shop.placed("o-1", customer_id="c-9")
    await store.commit(Commit([shop.run("orders/other", again), shop.run("orders/o-2", shop.placed("o-2"))]))
    rows = await connection.fetch("SELECT order_id, customer_id FROM orders ORDER BY order_id")
    assert [tuple(row) for row in rows] == [("o-1", "c-9"), ("o-2", "c-1")]
    assert await connection.fetchval("SELECT count(*) FROM history") == 3
    assert (await store.positions(["orders/other"]))["orders/other"].applied == 1


async def test_summary_holds_documents_that_are_ready_to_serve(summary: tuple[Store, asyncpg.Connection]) -> None:
    store, connection = summary
    await story(store)
    rows = await connection.fetch("SELECT doc, status, version, updated_at FROM orders ORDER BY order_id")
    shipped, cancelled = (OrderDocument.model_validate_json(row["doc"]) for row in rows)
    assert (shipped.status, shipped.version, shipped.paid_amount, shipped.carrier) == ("shipped", 3, 400, "DHL")
    assert (cancelled.status, cancelled.version, cancelled.currency) == ("cancelled", 2, "USD")
    for row, document in zip(rows, (shipped, cancelled), strict=True):
        assert (row["status"], row["version"], row["updated_at"]) == (
            document.status,
            document.version,
            document.updated_at,
        )
    (product,) = await connection.fetch("SELECT name, category, version, doc FROM products")
    view = ProductDocument.model_validate_json(product["doc"])
    assert (product["name"], view.price, view.stock, view.rating_average) == ("Red banana", 60, 7, 3.67)
    assert product["version"] == view.version == 5
    (customer,) = await connection.fetch("SELECT name, version, doc FROM customers")
    assert CustomerView.model_validate_json(customer["doc"]).email == "ada@example.org"
    assert (customer["name"], customer["version"]) == ("Ada L.", 4)


async def test_summary_keeps_all_history_and_prices(summary: tuple[Store, asyncpg.Connection]) -> None:
    store, connection = summary
    await story(store)
    history = await connection.fetch("SELECT type, at, data FROM history WHERE stream = 'orders/o-1' ORDER BY version")
    assert [row["type"] for row in history] == ["orders.order-placed", "orders.order-paid", "orders.order-shipped"]
    assert json.loads(history[1]["data"])["amount"] == 400
    assert await connection.fetchval("SELECT count(*) FROM history") == 14
    prices = await connection.fetch("SELECT version, price FROM price_history ORDER BY version")
    assert [tuple(row) for row in prices] == [(1, 50), (3, 60)]


async def test_an_event_whose_row_is_missing_is_named(summary: tuple[Store, asyncpg.Connection]) -> None:
    store, connection = summary
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    await connection.execute("DELETE FROM orders")
    advance = shop.run("orders/o-1", shop.paid(), expected=1)
    with pytest.raises(ProjectionError) as caught:
        await store.commit(Commit([advance, shop.run("orders/o-2", shop.placed("o-2"))]))
    assert caught.value.event is advance.events[0]
    assert await connection.fetchval("SELECT count(*) FROM positions") == 1


@pytest.mark.parametrize(
    ("asked", "found"),
    [("o-1", {"o-1"}), ("banana", {"o-1", "o-2"}), ("c-2", {"o-2"}), ("placed", set()), ("milk", set())],
)
async def test_orders_are_found_by_id_line_names_and_customer(
    search: tuple[Store, asyncpg.Connection], asked: str, found: set[str]
) -> None:
    store, connection = search
    await story(store)
    query = "SELECT order_id FROM orders WHERE terms @@ $1::text::tsquery"
    assert {row["order_id"] for row in await connection.fetch(query, search_terms.tsqueries(asked).verbatim)} == found


async def test_search_rows_follow_what_happens(search: tuple[Store, asyncpg.Connection]) -> None:
    store, connection = search
    await story(store)
    orders = await connection.fetch("SELECT order_id, status, version, unnamed FROM orders ORDER BY order_id")
    assert [tuple(row) for row in orders] == [("o-1", "shipped", 3, ["p-2"]), ("o-2", "cancelled", 2, ["p-2"])]
    (product,) = await connection.fetch("SELECT name, description, brand, price, currency, version FROM products")
    assert tuple(product) == ("Red banana", None, None, 60, "EUR", 5)
    (customer,) = await connection.fetch("SELECT name, version FROM customers")
    assert tuple(customer) == ("Ada L.", 4)


async def test_analytics_counts_by_the_layout(analytics: tuple[Store, Any]) -> None:
    store, redis = analytics
    await story(store)
    assert await redis.hgetall(KEYS.hours_in("EUR")) == {
        "2026033112:orders": "1",
        "2026033112:items": "4",
        "2026033112:revenue": "400",
    }
    assert await redis.hgetall(KEYS.days_in("USD")) == {
        "20260330:orders": "0",
        "20260330:items": "0",
        "20260330:revenue": "0",
        "20260330:cancelled": "1",
    }
    for span in ("20260331", "202603", "all"):
        assert await redis.zrange(KEYS.units(span), 0, -1, withscores=True) == [("p-2", 1), ("p-1", 3)]
        assert await redis.zrange(KEYS.sales("EUR", span), 0, -1, withscores=True) == [("p-1", 150), ("p-2", 250)]
        assert await redis.hgetall(KEYS.buyers(span)) == {"c-1": "1"}
    assert await redis.exists(KEYS.units("20260330"), KEYS.sales("USD", "all"), KEYS.buyers("20260330")) == 0
    assert await redis.zrange(KEYS.days, 0, -1, withscores=True) == [("20260330", 20260330), ("20260331", 20260331)]
    assert await redis.smembers(KEYS.currencies) == {"EUR", "USD"}
    assert await redis.hgetall(KEYS.names) == {"p-1": "Red banana"}
    assert await redis.hgetall(KEYS.line_names) == {"p-1": "Banana"}


@pytest.mark.parametrize("order", [("apple", "Zebra", "Ähre", "Zebra 2"), ("Ähre", "Zebra 2", "Zebra", "apple")])
async def test_the_names_that_lines_give_come_to_the_same_in_any_order(
    analytics: tuple[Store, Any], order: Sequence[str]
) -> None:
    store, redis = analytics
    for name in order:
        lines = [Line(product_id=product, name=name, quantity=1, amount=1) for product in ("p-1", f"p-{name}")]
        await store.commit(Commit([shop.run(f"orders/{name}", shop.placed(name, lines=lines))]))
    assert await redis.hgetall(KEYS.line_names) == {"p-1": "Ähre"} | {f"p-{name}": name for name in order}


async def test_what_a_score_cannot_keep_is_kept_beside_it(analytics: tuple[Store, Any]) -> None:
    store, redis = analytics
    line = Line(product_id="p-1", quantity=1, amount=MAX_AMOUNT)
    orders = [shop.placed(f"o-{i}", lines=[line]) for i in range(1100)]
    await store.commit(Commit([shop.run("orders/o-0", orders[0])]))
    sales = KEYS.sales("EUR", "all")
    assert await redis.zscore(sales, "p-1") == MAX_AMOUNT
    assert not await redis.exists(KEYS.exact)
    await store.commit(Commit([shop.run(f"orders/{one.order_id}", one) for one in orders[1:]]))
    assert await redis.hget(KEYS.days_in("EUR"), "20260331:revenue") == str(1100 * MAX_AMOUNT)
    assert await redis.zscore(sales, "p-1") == float(1100 * MAX_AMOUNT)
    field = KEYS.exact_field(sales, "p-1")
    assert field == "sales:EUR:all p-1"
    assert await redis.hget(KEYS.exact, field) == str(1100 * MAX_AMOUNT)
    gone = [shop.run(f"orders/{one.order_id}", shop.cancelled(one), expected=1) for one in orders[1:]]
    await store.commit(Commit(gone))
    assert await redis.zscore(sales, "p-1") == MAX_AMOUNT
    assert not await redis.exists(KEYS.exact)


async def test_a_text_that_is_not_its_scores_is_passed_over(analytics: tuple[Store, Any]) -> None:
    """Code that knows scores alone has written since."""
    store, redis = analytics
    lines = [Line(product_id="p-1", quantity=1, amount=MAX_AMOUNT)]
    for name in ("o-1", "o-2"):
        await store.commit(Commit([shop.run(f"orders/{name}", shop.placed(name, lines=lines))]))
    sales = KEYS.sales("EUR", "all")
    await redis.zincrby(sales, 2**53, "p-1")
    one = [Line(product_id="p-1", quantity=1, amount=1)]
    await store.commit(Commit([shop.run("orders/o-3", shop.placed("o-3", lines=one))]))
    assert await redis.hget(KEYS.exact, KEYS.exact_field(sales, "p-1")) == str(2**54 + 2**53 + 1)


async def test_a_counter_that_is_no_number_stops_a_commit_before_it_has_written(analytics: tuple[Store, Any]) -> None:
    store, redis = analytics
    await redis.hset(KEYS.days_in("EUR"), "20260331:revenue", "damaged")
    with pytest.raises(StoreUnavailableError):
        await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    assert [key async for key in redis.scan_iter(f"{GENERATION}:*")] == [KEYS.days_in("EUR")]


async def test_a_server_without_memory_is_an_outage_and_nothing_is_written(analytics: tuple[Store, Any]) -> None:
    store, redis = analytics
    before = (await redis.config_get("maxmemory"))["maxmemory"]
    await redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailableError):
            await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    finally:
        await redis.config_set("maxmemory", before)
    assert [key async for key in redis.scan_iter(f"{GENERATION}:*")] == []


async def test_a_batch_of_many_products_and_a_server_that_forgot_the_script(analytics: tuple[Store, Any]) -> None:
    store, redis = analytics
    lines = [Line(product_id=f"p-{i}", name=f"n {i}", quantity=i + 1, amount=i) for i in range(9000)]
    parts = [lines[i : i + 1000] for i in range(0, 9000, 1000)]
    orders = [shop.placed(f"o-{i}", lines=part) for i, part in enumerate(parts)]
    await redis.script_flush()
    await store.commit(Commit([shop.run(f"orders/{order.order_id}", order) for order in orders]))
    assert await redis.zcard(KEYS.units("all")) == 9000
    assert await redis.zcard(KEYS.sales("EUR", "all")) == 8999  # p-0 was free
    assert await redis.zscore(KEYS.units("202603"), "p-8999") == 9000
    await store.commit(Commit([shop.run(f"orders/{o.order_id}", shop.cancelled(o), expected=1) for o in orders]))
    assert await redis.exists(KEYS.units("all"), KEYS.sales("EUR", "all"), KEYS.buyers("all")) == 0


async def test_sales_are_counted_by_region_and_category_and_taken_back_out_of_them(
    analytics: tuple[Store, Any],
) -> None:
    store, redis = analytics
    lines = [shop.line(amount=30, category="Fruit"), shop.line("p-2", quantity=2, amount=20, category="Dairy")]
    north, south = shop.placed("o-1", lines=lines, region="North"), shop.placed("o-2", lines=lines, region="South")
    await store.commit(Commit([shop.run(f"orders/{one.order_id}", one) for one in (north, south)]))
    await store.commit(Commit([shop.run("orders/o-2", shop.cancelled(south), expected=1)]))
    month, region, category = "202603", Dimension.REGION, Dimension.CATEGORY
    for span in ("20260331", month):
        assert await redis.hgetall(KEYS.sales_by(region, "EUR", span)) == {
            **{"orders:North": "1", "items:North": "3", "revenue:North": "50"},
            "cancelled:South": "1",
        }
        assert await redis.hgetall(KEYS.sales_by(category, "EUR", span)) == {
            **{"orders:Fruit": "1", "items:Fruit": "1", "revenue:Fruit": "30", "cancelled:Fruit": "1"},
            **{"orders:Dairy": "1", "items:Dairy": "2", "revenue:Dairy": "20", "cancelled:Dairy": "1"},
        }
    assert await redis.hgetall(KEYS.buyers_by(region, "EUR", month)) == {"c-1 North": "1"}
    assert await redis.hgetall(KEYS.buyers_by(category, "EUR", month)) == {"c-1 Fruit": "1", "c-1 Dairy": "1"}


async def test_sales_are_complete_only_if_all_events_were_applied_by_code_that_counts_them(
    analytics: tuple[Store, Any],
) -> None:
    store, redis = analytics

    async def complete() -> bool:
        return sales_are_complete(await redis.hget(KEYS.counted, SALES), await redis.hgetall(KEYS.progress))

    assert await complete()
    progress = {0: LaneProgress(None, 1), 3: LaneProgress(None, 2)}
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())], progress=progress))
    assert await complete()
    await redis.hincrby(KEYS.progress, "3:events_applied", 1)  # as older code does
    assert not await complete()
    await store.commit(Commit([shop.run("orders/o-2", shop.placed("o-2"))], progress=progress))
    assert not await complete()


async def test_an_order_of_as_many_lines_as_there_may_be(analytics: tuple[Store, Any]) -> None:
    store, redis = analytics
    lines = [shop.line(f"p-{i}", amount=i, category=f"Category {i}") for i in range(MAX_LINES)]
    order = shop.placed(lines=lines, region="North")
    await store.commit(Commit([shop.run("orders/o-1", order)]))
    assert await redis.zcard(KEYS.units("202603")) == MAX_LINES
    assert await redis.hlen(KEYS.sales_by(Dimension.CATEGORY, "EUR", "202603")) == 3 * MAX_LINES - 1  # one was free
    await store.commit(Commit([shop.run("orders/o-1", shop.cancelled(order), expected=1)]))
    assert not await redis.exists(KEYS.units("202603"), KEYS.buyers_by(Dimension.CATEGORY, "EUR", "202603"))
    assert await redis.hlen(KEYS.sales_by(Dimension.CATEGORY, "EUR", "202603")) == MAX_LINES
