"""Fills read stores from the normalised shop: its rows as the events that would have led to them, folded and written by the projectors."""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

from asyncpg import Record

from deploy.servers.provide import Servers
from projectors.models.analytics.store import AnalyticsStore
from projectors.models.search.store import SearchStore
from projectors.models.summary.store import SummaryStore
from projectors.stores.port import Advance, Commit, LaneProgress, StalePositionError, StoreUnavailableError
from shared.contracts.catalog import PriceChanged, ProductCreated, ReviewAdded, StockReceived, Variant
from shared.contracts.orders import Line, OrderCancelled, OrderPlaced
from shared.contracts.values import EventData
from tests.benchmarks.normalised import ORDERS, PRODUCTS, Normalised
from tests.shop import NOON, run

AT_ONCE: Final = 1000
ATTEMPTS: Final = 10
SIZES: Final = ("S", "L")


async def fill(servers: Servers, shop: Normalised) -> None:
    """Products in all three read models; orders in summary and analytics."""
    summary, search = SummaryStore(servers.stores["summary"]), SearchStore(servers.stores["search"])
    analytics = AnalyticsStore(servers.stores["analytics"])
    for store in (summary, search, analytics):
        await store.open()
    async for rows in shop.rows(PRODUCTS, shop.products, AT_ONCE):
        commit = commit_of([run(f"products/{product_id(row)}", *product(row)) for row in rows])
        await asyncio.gather(*(commit_for_certain(store, commit) for store in (summary, search, analytics)))
    async for rows in shop.rows(ORDERS, shop.orders, AT_ONCE):
        commit = commit_of([order(row) for row in rows])
        await asyncio.gather(commit_for_certain(summary, commit), commit_for_certain(analytics, commit))
    for store in (summary, search, analytics):
        await store.close()


async def commit_for_certain(store: SummaryStore | SearchStore | AnalyticsStore, commit: Commit) -> None:
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
