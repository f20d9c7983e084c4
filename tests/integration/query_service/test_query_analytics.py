"""Analytics: sums over Redis' keys, exact to the unit."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from query_service.analytics import buyers
from query_service.consistency.as_of import HEADER
from shared.views.analytics import Keys, day_of, hour_of, month_of

DAYS = 70
SALES = [
    # (when, customer, product, units, revenue): product p<n> sells on every n-th day, p7 twice as much
    (datetime(2026, 1, 20, 9, tzinfo=UTC) + timedelta(days=day), f"c{day % 11}", f"p{n}", 2 if n == 7 else 1, 100 * n)
    for day in range(DAYS)
    for n in range(1, 10)
    if day % n == 0
]


@pytest.fixture(scope="module", autouse=True)
async def sold(analytics_keys: tuple[Redis, Keys]) -> None:
    redis, keys = analytics_keys
    units: dict[str, Counter[str]] = defaultdict(Counter)
    sales: dict[str, Counter[str]] = defaultdict(Counter)
    buyers: dict[str, Counter[str]] = defaultdict(Counter)
    buckets: dict[str, Counter[str]] = defaultdict(Counter)
    for at, customer, product, count, amount in SALES:
        for span in (day_of(at), month_of(at), "all"):
            units[span][product] += count
            sales[span][product] += amount
            buyers[span][customer] += 1
        for key, stamp in ((keys.hours_in("USD"), hour_of(at)), (keys.days_in("USD"), day_of(at))):
            buckets[key].update({f"{stamp}:orders": 1, f"{stamp}:items": count, f"{stamp}:revenue": amount})
        await redis.zadd(keys.days, {day_of(at): int(day_of(at))})
    for span in units:
        await redis.zadd(keys.units(span), dict(units[span]))
        await redis.zadd(keys.sales("USD", span), dict(sales[span]))
        await redis.hset(keys.buyers(span), mapping={name: str(count) for name, count in buyers[span].items()})
    for key, fields in buckets.items():
        await redis.hset(key, mapping={name: str(count) for name, count in fields.items()})
    await redis.hset(keys.days_in("USD"), "20260121:cancelled", "3")
    await redis.sadd(keys.currencies, "USD")
    await redis.hset(keys.names, mapping={"p1": "Milk"})
    await redis.hset(keys.line_names, mapping={"p1": "milk on a line", "p2": "Bread on a line"})
    await redis.hset(
        keys.progress,
        mapping={"0:as_of": "2026-04-01T00:00:00Z", "0:events_applied": 7, "1:as_of": "2026-04-02T00:00:00Z"},
    )


def within(first: str, end: str) -> list[Any]:
    return [sale for sale in SALES if first <= f"{sale[0]:%Y-%m-%d}" < end]


async def test_revenue_comes_day_by_day_without_holes_and_adds_up(client: httpx.AsyncClient) -> None:
    answer = await client.get("/analytics/revenue?from=2026-01-18&to=2026-01-23")
    body = answer.json()
    assert [bucket["start"] for bucket in body["buckets"]] == [f"2026-01-{day}T00:00:00Z" for day in range(18, 23)]
    assert [bucket["revenue"] for bucket in body["buckets"]] == [0, 0, 4500, 100, 300]
    assert body["total"] == {"orders": 12, "items": 13, "revenue": 4900, "cancelled": 3}
    assert (body["currency"], body["granularity"]) == ("USD", "day")
    assert answer.headers[HEADER] == "2026-04-01T00:00:00Z"


async def test_the_lanes_of_a_store_in_redis_are_known(client: httpx.AsyncClient) -> None:
    lanes = (await client.get("/projections/analytics")).json()["lanes"]
    assert [(each["lane"], each["as_of"], each["events_applied"]) for each in lanes] == [
        (0, "2026-04-01T00:00:00Z", 7),
        (1, "2026-04-02T00:00:00Z", 0),
    ]
    assert {each["messages"] for each in lanes} == {None}, "without the operations database, no queue is known"


async def test_revenue_without_a_range_is_over_all_data(client: httpx.AsyncClient) -> None:
    for granularity, count in (("day", DAYS), ("hour", DAYS * 24)):
        body = (await client.get("/analytics/revenue", params={"granularity": granularity})).json()
        assert len(body["buckets"]) == count
        assert body["total"]["revenue"] == sum(sale[4] for sale in SALES)
        assert body["total"]["orders"] == len(SALES)


@pytest.mark.parametrize(
    ("first", "end"), [("2026-01-25", "2026-03-05"), ("2026-02-01", "2026-03-01"), ("2026-02-03", "2026-02-04")]
)
@pytest.mark.parametrize("by", ["units", "revenue"])
async def test_top_products_are_what_adding_up_finds(client: httpx.AsyncClient, first: str, end: str, by: str) -> None:
    units: Counter[str] = Counter()
    revenue: Counter[str] = Counter()
    for _, _, product, count, amount in within(first, end):
        units[product] += count
        revenue[product] += amount
    ranked = sorted(units, key=lambda one: (-(units if by == "units" else revenue)[one], one))
    items = (
        await client.get("/analytics/top-products", params={"from": first, "to": end, "by": by, "limit": 5})
    ).json()["items"]
    assert [(one["product_id"], one["units"], one["revenue"]) for one in items] == [
        (one, units[one], revenue[one]) for one in ranked[:5]
    ]


async def test_names_come_from_the_catalogue_else_from_an_order_line(client: httpx.AsyncClient) -> None:
    items = (await client.get("/analytics/top-products?limit=1000")).json()["items"]
    names = {one["product_id"]: one["name"] for one in items}
    assert (names["p1"], names["p2"], names["p3"]) == ("Milk", "Bread on a line", None)


@pytest.mark.parametrize(
    ("first", "end"),
    [
        ("2026-01-25", "2026-03-05"),
        ("2026-02-03", "2026-02-06"),
        ("2020-01-01", "2030-01-01"),
        ("2020-01-01", "2020-02-01"),
    ],
)
@pytest.mark.parametrize("at_once", [buyers.SCAN_COUNT, 2])
async def test_distinct_customers_are_counted_once(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, first: str, end: str, at_once: int
) -> None:
    monkeypatch.setattr(buyers, "SCAN_COUNT", at_once)
    answer = await client.get("/analytics/customers", params={"from": first, "to": end})
    assert answer.json() == {"distinct": len({sale[1] for sale in within(first, end)})}


async def test_a_currency_never_seen_has_nothing(client: httpx.AsyncClient) -> None:
    body = (await client.get("/analytics/revenue?currency=CHF&from=2026-02-01&to=2026-02-02")).json()
    assert body["total"] == {"orders": 0, "items": 0, "revenue": 0, "cancelled": 0}
    assert (await client.get("/analytics/top-products?currency=CHF&by=revenue")).json() == {"items": []}
