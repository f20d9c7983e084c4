"""A second currency: what was written for one goes on with the same figures, and nothing is a sum of different currencies."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from deploy.servers.provide import Servers
from projectors.models.analytics.generation_registry import AnalyticsRegistry
from projectors.models.analytics.store import AnalyticsStore
from projectors.stores.port import Commit
from query_service.app import create_app
from query_service.http.requests import Stores
from query_service.routes.shop import analytics
from query_service.stores import redis_store
from query_service.stores.postgres_store import PostgresStore
from shared.contracts.orders import Line
from shared.contracts.registry import KINDS
from shared.views.analytics import Keys
from shared.views.generations import generation_name
from tests import shop

PREFIX = "analytics_currencies"
PATHS = ["/analytics/revenue", "/analytics/top-products", "/analytics/top-products?by=revenue"]


@dataclass
class Sold:
    redis: Any
    store: AnalyticsStore
    stores: Stores
    count: int = 0

    async def order(self, currency: str, product: str, units: int, amount: int) -> None:
        """Each a day after the one before."""
        self.count += 1
        at = shop.NOON + timedelta(days=self.count)
        lines = [Line(product_id=product, name=None, quantity=units, amount=amount)]
        placed = shop.placed(f"o-{self.count}", currency=currency, lines=lines, at=at)
        await self.store.commit(Commit([shop.run(f"orders/o-{self.count}", placed)]))

    async def get(self, path: str, own: str = "", **parameters: Any) -> Any:
        transport = httpx.ASGITransport(app=create_app(self.stores, currency=own))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://query") as client:
            found = await client.get(path, params=parameters or None)
        assert found.status_code == 200, found.text
        return found.json()


@pytest.fixture
async def sold(servers: Servers) -> AsyncIterator[Sold]:
    redis: Any = Redis.from_url(servers.stores["analytics"], decode_responses=True, socket_timeout=5)
    store = AnalyticsStore(servers.stores["analytics"], PREFIX)
    stores = Stores(
        PostgresStore("summary", servers.reader_stores["summary"], "summary"),
        PostgresStore("search", servers.reader_stores["search"], "search"),
        redis_store.RedisStore("analytics", servers.reader_stores["analytics"], PREFIX),
    )
    yield Sold(redis, store, stores)
    await stores.close()
    await store.close()
    async for key in redis.scan_iter(f"{PREFIX}*", count=1000):
        await redis.unlink(key)
    await redis.aclose()


async def test_a_dashboard_for_one_currency_sees_the_same_the_day_a_second_one_comes(sold: Sold) -> None:
    await sold.order("USD", "p-1", 2, 900)
    before = {path: await sold.get(path, **{"from": "2026-04-01", "to": "2026-04-02"}) for path in PATHS}
    assert before["/analytics/revenue"].keys() == {"currency", "granularity", "buckets", "total", "average_order_value"}
    assert before["/analytics/top-products"].keys() == {"items"}
    await sold.order("EUR", "p-2", 5, 100)
    for path in PATHS:
        after = await sold.get(path, **{"from": "2026-04-01", "to": "2026-04-02"})
        assert {name: after[name] for name in before[path]} == before[path]
        assert (after["currency"], after["currencies"]) == ("USD", ["USD", "EUR"])
        assert list(after["by_currency"]) == ["USD", "EUR"]


async def test_each_currency_is_answered_as_if_it_had_been_asked_for(sold: Sold) -> None:
    await sold.order("EUR", "p-1", 2, 900)
    await sold.order("USD", "p-2", 5, 100)
    await sold.order("USD", "p-1", 1, 50)
    for path in PATHS:
        found = await sold.get(path)
        for currency, answer in found["by_currency"].items():
            alone = await sold.get(path + ("&" if "?" in path else "?") + f"currency={currency}")
            assert answer == {name: alone[name] for name in answer}
            assert not {"currencies", "by_currency"} & alone.keys()
        first = found["by_currency"]["EUR"]
        assert first == {name: found[name] for name in first}
    revenue = (await sold.get("/analytics/revenue"))["by_currency"]
    assert {currency: answer["total"]["revenue"] for currency, answer in revenue.items()} == {"EUR": 900, "USD": 150}
    units = (await sold.get("/analytics/top-products"))["items"]
    assert [(one["product_id"], one["units"], one["revenue"]) for one in units] == [("p-2", 5, 0), ("p-1", 3, 900)]


async def test_the_service_may_have_a_currency_of_its_own(sold: Sold) -> None:
    await sold.order("EUR", "p-1", 2, 900)
    for path in PATHS:
        assert (await sold.get(path, own="EUR")).keys() == (await sold.get(path)).keys()
    await sold.order("USD", "p-1", 1, 50)
    for own, total in (("USD", 50), ("EUR", 900), ("CHF", 0)):
        found = await sold.get("/analytics/revenue", own=own)
        assert (found["currency"], found["total"]["revenue"]) == (own, total)
        assert found["currencies"] == [own, *sorted({"EUR", "USD"} - {own})]
        assert (await sold.get("/analytics/top-products?by=revenue", own=own))["currency"] == own


async def test_too_many_at_once_are_named_and_not_answered(sold: Sold, monkeypatch: pytest.MonkeyPatch) -> None:
    await sold.order("EUR", "p-1", 2, 900)
    await sold.order("USD", "p-1", 1, 50)
    monkeypatch.setattr(analytics, "MAX_CURRENCY_BUCKETS", 3)
    found = await sold.get("/analytics/revenue")
    assert (found["total"]["revenue"], found["currencies"], found["by_currency"]) == (900, ["EUR", "USD"], None)
    monkeypatch.undo()
    monkeypatch.setattr(analytics, "MAX_CURRENCIES", 1)
    for path in PATHS:
        found = await sold.get(path)
        assert (found["currency"], found["currencies"], found["by_currency"]) == ("EUR", ["EUR", "USD"], None)


async def test_the_first_one_stays_so_in_a_new_generation_and_for_a_store_of_older_code(
    sold: Sold, servers: Servers
) -> None:
    await sold.redis.sadd(Keys(PREFIX).currencies, "USD")
    await sold.order("CHF", "p-1", 1, 50)
    await sold.order("EUR", "p-1", 1, 50)
    assert (await sold.get("/analytics/revenue"))["currencies"] == ["USD", "CHF", "EUR"]
    registry = AnalyticsRegistry(servers.stores["analytics"], PREFIX)
    await registry.begin(2, kinds=KINDS, rate=None, by="a test")
    await registry.close()
    assert await sold.redis.hgetall(Keys(generation_name(PREFIX, 2)).first) == {"currency": "USD"}


@pytest.mark.parametrize("path", PATHS)
async def test_without_any_order_there_is_no_currency(sold: Sold, path: str) -> None:
    found = await sold.get(path)
    assert not {"currencies", "by_currency"} & found.keys()
    assert found.get("currency") is None
