"""Fills read stores from the normalised shop: its rows as the events that would have led to them, folded and written by the projectors.

Each store is filled by a process of its own, in large commits. What costs less at the end is done at the end: PostgreSQL's indexes are
dropped before and made again as they were, analytics computes its totals as after a rebuild, and its append-only file is written once.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final

import asyncpg
import redis.asyncio as redis
import uvloop
from asyncpg import Record

from deploy.servers.provide import Servers
from projectors.models.analytics.store import AnalyticsStore
from projectors.models.search.store import SearchStore
from projectors.models.summary.store import SummaryStore
from projectors.stores.port import Advance, Commit, LaneProgress, StalePositionError, StoreUnavailableError
from shared.contracts.catalog import PriceChanged, ProductCreated, ReviewAdded, StockReceived, Variant
from shared.contracts.orders import Line, OrderCancelled, OrderPlaced
from shared.contracts.values import EventData
from shared.views.analytics import DAYS_ONLY, Keys
from tests.benchmarks.normalised import ORDERS, PRODUCTS, Normalised
from tests.shop import NOON, at_once, run

AT_ONCE: Final = 5000
ATTEMPTS: Final = 10
SAID_EVERY_S: Final = 10.0
AOF_WITHIN_S: Final = 900.0
SIZES: Final = ("S", "L")
STORES: Final = {"summary": SummaryStore, "search": SearchStore, "analytics": AnalyticsStore}

# Those that constraints need stay.
INDEXES: Final = """
SELECT pg_get_indexdef(indexrelid) AS made, 'DROP INDEX ' || indexrelid::regclass AS dropped
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = $1::regnamespace AND NOT indisunique ORDER BY relname
"""

Store = SummaryStore | SearchStore | AnalyticsStore


async def fill(servers: Servers) -> None:
    """Products in all three read models; orders in summary and analytics. ``servers``: the normalised shop is in that of the summary."""
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(len(STORES), mp_context=get_context("spawn")) as processes:
        shop = servers.stores["summary"]
        filling = (loop.run_in_executor(processes, fill_one, name, servers.stores[name], shop) for name in STORES)
        await asyncio.gather(*filling)


def fill_one(name: str, url: str, shop_url: str) -> None:
    """A process's work."""
    uvloop.run((_fill_analytics if name == "analytics" else _fill_postgres)(name, url, shop_url))


async def _fill_postgres(name: str, url: str, shop_url: str) -> None:
    session = {"search_path": f"{name}, public", "maintenance_work_mem": "1GB"}
    connection = await asyncpg.connect(url, server_settings=session)
    indexes = await connection.fetch(INDEXES, name)
    for index in indexes:
        await connection.execute(index["dropped"])
    await _apply(name, STORES[name](url), shop_url)
    for index in indexes:
        await connection.execute(index["made"])
        say(name, index["made"])
    await connection.close()


async def _fill_analytics(name: str, url: str, shop_url: str) -> None:
    server, store = redis.from_url(url, decode_responses=True), AnalyticsStore(url)
    await server.config_set("appendonly", "no")
    await server.sadd(Keys().totalled, DAYS_ONLY)
    await store.positions(["none"])  # it learns that totals come later
    await _apply(name, store, shop_url)
    say(name, "totals")
    store = AnalyticsStore(url)
    await store.complete(at_once)
    await store.close()
    say(name, "the append-only file")
    await server.config_set("appendonly", "yes")
    async with asyncio.timeout(AOF_WITHIN_S):
        while (await server.info("persistence"))["aof_rewrite_in_progress"]:  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.5)
    await server.aclose()


async def _apply(name: str, store: Store, shop_url: str) -> None:
    """All commits; closes the store."""
    await store.open()
    shop = await Normalised.opened(shop_url)
    orders = 0 if name == "search" else shop.orders
    for what, last, statement, advance in (
        ("products", shop.products, PRODUCTS, product_history),
        ("orders", orders, ORDERS, order),
    ):
        began = said = time.monotonic()
        done = 0
        async for rows in shop.rows(statement, last, AT_ONCE):
            await commit_for_certain(store, commit_of([advance(row) for row in rows]))
            done += len(rows)
            if time.monotonic() - said > SAID_EVERY_S or done == last:
                said = time.monotonic()
                rate = done / (said - began)
                say(name, f"{done:,} of {last:,} {what}, {rate:,.0f} a second, {(last - done) / rate:,.0f} s left")
    await shop.connection.close()
    await store.close()


def say(name: str, what: str) -> None:
    print(f"{time.strftime('%X')}  {name}: {what}", file=sys.stderr, flush=True)


async def commit_for_certain(store: Store, commit: Commit) -> None:
    """Raises StoreUnavailableError after ATTEMPTS. A commit whose reply was lost has stale positions at the next attempt."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await store.commit(commit)
        except StalePositionError:
            if attempt == 1:
                raise
            return None
        except StoreUnavailableError:
            if attempt == ATTEMPTS:
                raise


def commit_of(advances: list[Advance]) -> Commit:
    """As of one lane."""
    events = sum(len(advance.events) for advance in advances)
    return Commit(advances, progress={0: LaneProgress(NOON, events)})


def product_id(row: Record) -> str:
    return f"product-{row['product_id']}"


def product_history(row: Record) -> Advance:
    return run(f"products/{product_id(row)}", *product(row))


def product(row: Record) -> Iterator[EventData]:
    id_, prices = product_id(row), row["prices"]
    yield ProductCreated(
        product_id=id_,
        name=row["name"],
        description=row["description"],
        category=row["category"],
        brand=row["brand"],
        price=prices[0],
        currency=row["currency"],
        variants=tuple(Variant(sku=f"sku-{row['product_id']}-{size}", size=size) for size in SIZES),
        created_at=row["created_at"],
    )
    for previous, price, at in zip(prices, prices[1:], row["changed"][1:], strict=False):
        yield PriceChanged(
            product_id=id_, previous_price=previous, price=price, currency=row["currency"], changed_at=at
        )
    if row["stock"]:
        yield StockReceived(product_id=id_, quantity=row["stock"], stock=row["stock"], received_at=NOON)
    total = 0
    for count, rating in enumerate(row["ratings"], 1):
        total += rating
        yield ReviewAdded(
            product_id=id_,
            review_id=f"{id_}-{count}",
            rating=rating,
            review_count=count,
            rating_sum=total,
            added_at=NOON,
        )


def order(row: Record) -> Advance:
    bought = zip(row["products"], row["quantities"], row["amounts"], strict=True)
    lines = tuple(
        Line(product_id=f"product-{id_}", quantity=units, amount=amount, category=f"Category {1 + id_ % 200}")
        for id_, units, amount in bought
    )
    facts: dict[str, Any] = {
        "order_id": f"order-{row['order_id']}",
        "customer_id": f"customer-{row['customer_id']}",
        "currency": row["currency"],
        "lines": lines,
        "item_count": sum(row["quantities"]),
        "total": sum(row["amounts"]),
        "placed_at": row["placed_at"],
        "region": row["region"],
    }
    events: list[EventData] = [OrderPlaced(**facts)]
    if row["status"] == "cancelled":
        events.append(OrderCancelled(**facts, reason="changed their mind", cancelled_at=row["placed_at"]))
    return run(f"orders/{facts['order_id']}", *events)
