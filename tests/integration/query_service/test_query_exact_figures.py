"""Sums are exact whatever they come to: beyond 2^53, where a score is a double, and beyond 2^63, where Redis' own counters end."""

import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from deploy.servers.provide import Servers
from projectors.models.analytics.generation_registry import AnalyticsRegistry
from projectors.models.analytics.store import AnalyticsStore
from projectors.stores.port import Advance, Commit, StalePositionError
from query_service.app import create_app
from query_service.http.requests import Stores
from query_service.stores import redis_store
from query_service.stores.postgres_store import PostgresStore
from shared.contracts.orders import Line, OrderPlaced
from shared.contracts.registry import KINDS
from shared.contracts.values import MAX_AMOUNT
from shared.views.analytics import Keys
from shared.views.generations import generation_name, registry_key
from tests import shop

PREFIX = "analytics_exact"
OLDER = Path(__file__).with_name("figures_of_older_code.json")
"""What the code that kept sums in scores alone wrote: see the test that reads it."""
FIRST_DAY = datetime(2026, 1, 25, tzinfo=UTC)
EDGES = [0, 1, 2, 3, 2**52 - 1, 2**52, 2**52 + 1, MAX_AMOUNT - 1, MAX_AMOUNT]


def order(number: int, *lines: tuple[str, int], quantity: int = 1, day: int = 0, currency: str = "EUR") -> OrderPlaced:
    at = FIRST_DAY + timedelta(days=day)
    chosen = [Line(product_id=product, name=None, quantity=quantity, amount=amount) for product, amount in lines]
    return shop.placed(f"o-{number}", customer_id=f"c-{number % 5}", currency=currency, lines=chosen, at=at)


def placing(order: OrderPlaced) -> Advance:
    return shop.run(f"orders/{order.order_id}", order)


def cancelling(order: OrderPlaced) -> Advance:
    return shop.run(f"orders/{order.order_id}", shop.cancelled(order), expected=1)


@dataclass
class Figures:
    """Two generations that are written alike, the second as one that is being built; and dashboards that ask about either."""

    redis: Any
    registry: AnalyticsRegistry
    stores: Sequence[AnalyticsStore]
    client: httpx.AsyncClient

    async def commit(self, *advances: Advance) -> None:
        for store in self.stores:
            while True:
                await store.positions([advance.stream for advance in advances])
                with suppress(StalePositionError):
                    await store.commit(Commit(advances))
                    break

    async def switch(self) -> None:
        """The second generation is complete, and is the one that is read."""
        await self.stores[1].complete(shop.at_once)
        await self.redis.hset(registry_key(PREFIX), "active", "2")

    async def get(self, path: str, **parameters: Any) -> Any:
        return (await self.client.get(path, params=parameters)).raise_for_status().json()

    async def sold(self, by: str = "revenue", **parameters: Any) -> list[tuple[str, int]]:
        found = await self.get("/analytics/top-products", by=by, limit=100, currency="EUR", **parameters)
        return [(item["product_id"], item[by]) for item in found["items"]]


@pytest.fixture
async def figures(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Figures]:
    url = servers.stores["analytics"]
    redis: Any = Redis.from_url(url, decode_responses=True, socket_timeout=5)
    registry = AnalyticsRegistry(url, PREFIX)
    await registry.begin(2, kinds=KINDS, rate=None, by="a test")
    second = AnalyticsStore(url, generation_name(PREFIX, 2), entry=(registry_key(PREFIX), "2"))
    stores = [AnalyticsStore(url, PREFIX), second]
    reading = Stores(
        PostgresStore("summary", servers.reader_stores["summary"], "summary"),
        PostgresStore("search", servers.reader_stores["search"], "search"),
        redis_store.RedisStore("analytics", servers.reader_stores["analytics"], PREFIX),
    )
    transport = httpx.ASGITransport(app=create_app(reading))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://query") as client:
        yield Figures(redis, registry, stores, client)
    await reading.close()
    for store in stores:
        await store.close()
    await registry.close()
    async for key in redis.scan_iter(f"{PREFIX}*", count=1000):
        await redis.unlink(key)
    await redis.aclose()


async def test_two_of_the_largest_amounts_less_a_cancellation_leave_the_ranking_right(figures: Figures) -> None:
    orders = [order(number, ("p-1", amount)) for number, amount in enumerate((MAX_AMOUNT, MAX_AMOUNT, 3))]
    await figures.commit(placing(order(9, ("p-2", MAX_AMOUNT))), *map(placing, orders[:1]))
    for one in orders[1:]:
        await figures.commit(placing(one))
    assert await figures.sold() == [("p-1", 2 * MAX_AMOUNT + 3), ("p-2", MAX_AMOUNT)]
    await figures.commit(cancelling(orders[0]))
    assert await figures.sold() == [("p-1", MAX_AMOUNT + 3), ("p-2", MAX_AMOUNT)]
    await figures.commit(cancelling(orders[1]))
    assert await figures.sold() == [("p-2", MAX_AMOUNT), ("p-1", 3)]


async def test_of_two_that_a_double_cannot_tell_apart_the_greater_comes_first(figures: Figures) -> None:
    await figures.commit(*(placing(order(n, ("a", MAX_AMOUNT), ("b", 0))) for n in range(2)))
    await figures.commit(*(placing(order(n, ("b", MAX_AMOUNT))) for n in range(2, 4)))
    await figures.commit(placing(order(4, ("b", 1))), placing(order(5, ("c", 5), day=40)))
    for parameters in ({}, {"from": "2026-01-25", "to": "2026-01-26"}, {"from": "2026-01-25", "to": "2026-03-01"}):
        found = await figures.sold(**parameters)
        assert found[:2] == [("b", 2 * MAX_AMOUNT + 1), ("a", 2 * MAX_AMOUNT)]


async def test_a_day_of_more_than_64_bits_is_no_poison_and_comes_back(figures: Figures) -> None:
    orders = [order(number, ("p-1", MAX_AMOUNT)) for number in range(2100)]
    for start in range(0, len(orders), 700):
        await figures.commit(*map(placing, orders[start : start + 700]))
    assert await figures.sold() == [("p-1", 2100 * MAX_AMOUNT)]
    for granularity in ("hour", "day"):
        found = await figures.get("/analytics/revenue", granularity=granularity)
        assert found["buckets"][0] | {"start": ""} == found["total"] | {"start": ""}
        assert found["total"] == {"orders": 2100, "items": 2100, "revenue": 2100 * MAX_AMOUNT, "cancelled": 0}
    await figures.commit(*map(cancelling, orders[:2099]))
    assert await figures.sold() == [("p-1", MAX_AMOUNT)]
    found = await figures.get("/analytics/revenue")
    assert found["total"] == {"orders": 1, "items": 1, "revenue": MAX_AMOUNT, "cancelled": 2099}
    await figures.commit(cancelling(orders[2099]))
    assert await figures.sold() == []
    assert (await figures.get("/analytics/revenue"))["total"]["revenue"] == 0


@pytest.mark.parametrize("seed", range(8))
async def test_all_figures_are_what_whole_numbers_add_up_to(figures: Figures, seed: int) -> None:
    """Amounts at the edges, cancellations, refunds of what was discarded, in any order and grouping, with totals at the end or not."""
    chance = random.Random(seed)
    orders = [
        order(
            number,
            *_lines(chance),
            quantity=chance.choice([1, 10**9, 2**51]),
            day=chance.choice([0, 1, 20]),
            currency=chance.choice(["EUR", "EUR", "USD"]),
        )
        for number in range(60)
    ]
    kept: list[tuple[OrderPlaced, int]] = []
    steps: list[list[Advance]] = []
    for one in orders:
        match chance.randrange(4):
            case 0:
                kept.append((one, 0))
                steps.append([placing(one), cancelling(one)])
            case 1 if chance.random() < 0.3:
                kept.append((one, -1))
                stream = f"orders/{one.order_id}"
                steps.append([Advance(stream, 0, [shop.event(shop.cancelled(one), stream, 2)], skipped=1)])
            case _:
                kept.append((one, 1))
                steps.append([placing(one)])
    while any(steps):
        chosen = [stream.pop(0) for stream in chance.sample(steps, chance.choice([1, 3, 20])) if stream]
        await figures.commit(*chosen)
    await _compare(figures, kept)
    await figures.switch()
    await _compare(figures, kept)
    exact = [await figures.redis.hgetall(Keys(generation_name(PREFIX, number)).exact) for number in (1, 2)]
    assert exact[0] == exact[1] != {}


def _lines(chance: random.Random) -> list[tuple[str, int]]:
    first = chance.choice(EDGES)
    left = MAX_AMOUNT - first
    return [(f"p-{chance.randrange(3)}", first), (f"p-{chance.randrange(3)}", min(left, chance.choice(EDGES)))]


async def _compare(figures: Figures, kept: Sequence[tuple[OrderPlaced, int]]) -> None:
    for first, end in (("2026-01-25", "2026-03-01"), ("2026-01-25", "2026-01-26"), ("2026-01-26", "2026-02-20")):
        within = [(one, sign) for one, sign in kept if first <= f"{one.placed_at:%Y-%m-%d}" < end]
        units: Counter[str] = Counter()
        revenue: Counter[str] = Counter()
        total = {"orders": 0, "items": 0, "revenue": 0, "cancelled": 0}
        for one, sign in within:
            for line in one.lines:
                units[line.product_id] += sign * line.quantity
                revenue[line.product_id] += sign * line.amount if one.currency == "EUR" else 0
            if one.currency == "EUR":
                counts = {"orders": sign, "items": sign * one.item_count, "revenue": sign * one.total}
                total = {name: total[name] + counts.get(name, int(sign < 1)) for name in total}
        for by, expected in (("units", units), ("revenue", revenue)):
            ranked = sorted(((one, n) for one, n in expected.items() if n > 0), key=lambda pair: (-pair[1], pair[0]))
            assert await figures.sold(by, **{"from": first, "to": end}) == ranked
        found = await figures.get("/analytics/revenue", currency="EUR", **{"from": first, "to": end})
        assert found["total"] == total
        assert {name: sum(bucket[name] for bucket in found["buckets"]) for name in total} == total


async def test_what_older_code_wrote_is_gone_on_with(figures: Figures) -> None:
    """It kept ``over`` as 2 × MAX_AMOUNT + 1 rounded to 2^54, and ``back`` as 1 in place of 3: only a rebuild mends that."""
    for key, content in json.loads(OLDER.read_text()).items():
        name = key.replace("older", PREFIX, 1)
        match content:
            case {"hash": fields}:
                await figures.redis.hset(name, mapping=fields)
            case {"zset": scores}:
                await figures.redis.zadd(name, scores)
            case {"set": members}:
                await figures.redis.sadd(name, *members)
    on_the_day = {"from": "2026-03-31", "to": "2026-04-01"}
    for parameters in ({}, on_the_day):
        assert await figures.sold(**parameters) == [("over", 2**54), ("low", 755), ("back", 1)]
    at = shop.NOON
    line = [Line(product_id=product, quantity=1, amount=1) for product in ("over", "low")]
    new = shop.placed("o-new", lines=line, at=at)
    await figures.stores[0].commit(Commit([placing(new)]))
    for parameters in ({}, on_the_day):
        assert await figures.sold(**parameters) == [("over", 2**54 + 1), ("low", 756), ("back", 1)]
    revenue = (await figures.get("/analytics/revenue"))["total"]["revenue"]
    assert revenue == 2 * MAX_AMOUNT + 1 + 755 + 3 + 2
