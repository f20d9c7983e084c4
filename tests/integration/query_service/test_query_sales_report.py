"""Categories, segments and the monthly report, compared with sums over every order, computed here without the stores."""

import csv
import io
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from msgspec import UNSET
from redis.asyncio import Redis

from deploy.servers.provide import Servers
from projectors.models.analytics.store import AnalyticsStore
from projectors.models.summary.store import SummaryStore
from projectors.stores.migrations import migrate
from projectors.stores.port import Commit, LaneProgress
from query_service.app import create_app
from query_service.http.requests import Stores
from query_service.routes.shop import sales_report
from query_service.stores import answer_cache
from query_service.stores.answer_cache import CAPACITY, AnswerCache
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.contracts.orders import OrderPlaced
from shared.views.analytics import Keys, SalesReport, Segments, TopCategories, average_order_value
from tests import shop
from tests.integration.databases import database
from tests.openapi import checked

PREFIX = "analytics_sales-report"
KEYS = Keys(PREFIX)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MONTH = ("2026-02-01", "2026-03-01")


@dataclass
class Sales:
    """What was sold, and the query service over stores that have applied it."""

    client: httpx.AsyncClient
    stores: Stores
    redis: Any
    orders: list[OrderPlaced]
    cancelled: set[str]

    def within(self, start: str, end: str, currency: str | None = "EUR") -> list[OrderPlaced]:
        """Those that count."""
        return [
            order
            for order in self.orders
            if order.order_id not in self.cancelled
            and start <= f"{order.placed_at:%Y-%m-%d}" < end
            and currency in (None, order.currency)
        ]

    async def get(self, path: str, **parameters: Any) -> Any:
        found = await self.client.get(path, params=parameters)
        assert found.status_code == 200, found.text
        return found.json()


def random_orders(chance: random.Random) -> Iterable[OrderPlaced]:
    for number in range(400):
        lines = [
            shop.line(
                f"p-{product}",
                quantity=chance.randint(1, 3),
                amount=chance.randint(0, 9999),
                category=f"Category {product % 5}" if product else UNSET,
            )
            for product in chance.sample(range(12), chance.randint(1, 4))
        ]
        customer = chance.randint(1, 60)
        yield shop.placed(
            f"o-{number}",
            customer_id=f"c-{customer}",
            currency=chance.choice(["EUR", "EUR", "EUR", "USD"]),
            lines=lines,
            at=BEGIN + timedelta(minutes=chance.randrange(120 * 24 * 60)),
            region=f"Region {customer % 4}" if customer % 7 else UNSET,
        )


@pytest.fixture(scope="module")
async def sales(servers: Servers) -> AsyncIterator[Sales]:
    chance = random.Random(7)
    orders = list(random_orders(chance))
    orders[0] = shop.placed("o-0", customer_id="c-1", at=BEGIN)  # so that EUR is the first currency
    gone = [order for order in orders if chance.random() < 0.15]
    redis: Any = Redis.from_url(servers.stores["analytics"], decode_responses=True, socket_timeout=5)
    analytics = AnalyticsStore(servers.stores["analytics"], PREFIX)
    async with database(servers.stores["summary"]) as url:
        await migrate("summary", url)
        summary = SummaryStore(url)
        advances = [shop.run(f"orders/{order.order_id}", order) for order in orders]
        advances += [shop.run(f"orders/{order.order_id}", shop.cancelled(order), expected=1) for order in gone]
        for start in range(0, len(advances), 100):
            commit = Commit(advances[start : start + 100], progress={0: LaneProgress(shop.NOON, 100)})
            await analytics.commit(commit)
            await summary.commit(commit)
        await summary.close()
        stores = Stores(
            PostgresStore("summary", url, "summary"),
            RedisStore("analytics", servers.reader_stores["analytics"], PREFIX),
        )
        app = create_app(stores)
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://query", event_hooks=checked(app)) as client:
            yield Sales(client, stores, redis, orders, {order.order_id for order in gone})
        await stores.close()
    await analytics.close()
    async for key in redis.scan_iter(f"{PREFIX}*", count=1000):
        await redis.unlink(key)
    await redis.aclose()


def sums(groups: Iterable[tuple[str | None, OrderPlaced, int, int]]) -> dict[str | None, dict[str, Any]]:
    """By key: what the report has of (key, order, items, revenue)."""
    orders: defaultdict[str | None, set[str]] = defaultdict(set)
    customers: defaultdict[str | None, set[str]] = defaultdict(set)
    items: Counter[str | None] = Counter()
    revenue: Counter[str | None] = Counter()
    for key, order, count, amount in groups:
        orders[key].add(order.order_id)
        customers[key].add(order.customer_id)
        items[key] += count
        revenue[key] += amount
    return {
        key: {
            **{"orders": len(orders[key]), "items": items[key], "revenue": revenue[key]},
            "average_order_value": average_order_value(revenue[key], len(orders[key])),
            "customers": len(customers[key]),
        }
        for key in orders
    }


def by_category(orders: Iterable[OrderPlaced]) -> Any:
    return sums((line.category or None, order, line.quantity, line.amount) for order in orders for line in order.lines)


def by_region(orders: Iterable[OrderPlaced]) -> Any:
    return sums((order.region or None, order, order.item_count, order.total) for order in orders)


def by_segment(sales: Sales) -> Callable[[Iterable[OrderPlaced]], Any]:
    before = {order.customer_id for order in sales.within("2026-01-01", MONTH[0], None)}

    def grouped(orders: Iterable[OrderPlaced]) -> Any:
        named = ((order, "returning" if order.customer_id in before else "new") for order in orders)
        return sums((name, order, order.item_count, order.total) for order, name in named)

    return grouped


@pytest.mark.parametrize("by", ["region", "category", "segment"])
@pytest.mark.parametrize("currency", ["EUR", "USD"])
async def test_the_report_is_the_sum_of_the_month_s_orders(sales: Sales, by: str, currency: str) -> None:
    body = await sales.get("/analytics/report", month="2026-02", by=by, currency=currency)
    SalesReport.model_validate(body)
    orders = sales.within(*MONTH, currency)
    grouped: Any = {"region": by_region, "category": by_category, "segment": by_segment(sales)}[by]
    assert {row["key"]: {name: row[name] for name in row if name != "key"} for row in body["rows"]} == grouped(orders)
    ranks = [(-row["revenue"], row["key"] or "") for row in body["rows"]]
    assert ranks == sorted(ranks)
    (whole,) = sums((None, order, order.item_count, order.total) for order in orders).values()
    assert body["total"] == whole
    assert len(body["rows"]) > 1


async def test_the_report_comes_as_csv_to_who_asks_for_it(sales: Sales) -> None:
    path = "/analytics/report?month=2026-02&by=region"
    as_json = await sales.client.get(path)
    as_csv = await sales.client.get(path, headers={"Accept": "text/csv"})
    assert as_csv.headers["content-type"] == "text/csv; charset=utf-8"
    assert as_json.headers["vary"] == as_csv.headers["vary"] == "Accept"
    assert as_json.headers["etag"] != as_csv.headers["etag"]
    lines = list(csv.DictReader(io.StringIO(as_csv.text, newline="")))
    rows = [{**row, "row": "region"} for row in as_json.json()["rows"]] + [{**as_json.json()["total"], "row": "total"}]
    assert [line["row"] for line in lines] == [row["row"] for row in rows]
    for line, row in zip(lines, rows, strict=True):
        assert {name: line[name] or None for name in row} == {
            name: value if value is None else str(value) for name, value in row.items()
        }
    again = await sales.client.get(path, headers={"Accept": "text/csv", "If-None-Match": as_csv.headers["etag"]})
    assert (again.status_code, again.headers["vary"]) == (304, "Accept")
    refused = await sales.client.get(path, headers={"Accept": "text/html"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not-acceptable")
    assert refused.headers["vary"] == "Accept"


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
@pytest.mark.parametrize("by", ["category", "segment"])
async def test_a_report_that_was_costly_is_kept_for_a_time(
    sales: Sales, by: str, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sales.stores, "answers", AnswerCache(CAPACITY))
    monkeypatch.setattr(answer_cache, "WORTH_S", 0.0)
    monkeypatch.setattr(answer_cache, "KEPT_PER_COST", 1e9)
    path, form = f"/analytics/report?month=2026-02&currency=EUR&by={by}", {"Accept": accept}
    first = await sales.client.get(path, headers=form)
    monkeypatch.delattr(sales_report, "report")  # what is not kept cannot be answered any more
    kept = await sales.client.get(path, headers=form)
    assert (kept.status_code, kept.content, kept.headers["etag"]) == (200, first.content, first.headers["etag"])
    assert (kept.headers["vary"], kept.headers["content-type"]) == ("Accept", first.headers["content-type"])


async def test_a_report_without_a_currency_is_in_the_shop_s_first_and_names_the_others(sales: Sales) -> None:
    for by in ("region", "category", "segment"):
        body = await sales.get("/analytics/report", month="2026-02", by=by)
        assert (body["currency"], body["currencies"]) == ("EUR", ["EUR", "USD"])


@pytest.mark.parametrize(
    "query", ["by=region", "month=2026-13&by=region", "month=2026-2&by=region", "month=2026-02&by=x"]
)
async def test_a_report_of_no_month_is_refused(sales: Sales, query: str) -> None:
    refused = await sales.client.get(f"/analytics/report?{query}")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid-parameter")
    assert "^" not in refused.text
    if "month=2026-2" in query:
        [error] = refused.json()["errors"]
        words = 'a month is YYYY-MM, like 2026-03, from 1970-01 to 2199-12; "2026-2" came'
        assert error == {"field": "month", "message": words}


@pytest.mark.parametrize("by", ["revenue", "units", "orders"])
@pytest.mark.parametrize(("start", "end"), [MONTH, ("2026-01-17", "2026-03-09"), ("2026-01-01", "2026-12-31")])
async def test_top_categories_are_exact(sales: Sales, by: str, start: str, end: str) -> None:
    body = await sales.get("/analytics/categories", **{"from": start, "to": end, "by": by, "limit": 3})
    TopCategories.model_validate(body)
    measure = "items" if by == "units" else by
    expected = by_category(sales.within(start, end))
    ranked = sorted(expected, key=lambda key: (-expected[key][measure], key or ""))[:3]
    assert [row["category"] for row in body["items"]] == ranked
    for row in body["items"]:
        shown = {name: value for name, value in expected[row["category"]].items() if name != "customers"}
        assert {name: row[name] for name in shown} == shown
    assert body["by_currency"]["EUR"] == {"items": body["items"]}
    gone = [order for order in sales.orders if order.order_id in sales.cancelled and order.currency == "EUR"]
    gone = [order for order in gone if start <= f"{order.placed_at:%Y-%m-%d}" < end]
    for row in body["items"]:
        assert row["cancelled"] == sum(
            any((line.category or None) == row["category"] for line in o.lines) for o in gone
        )


@pytest.mark.parametrize("granularity", ["week", "month"])
async def test_weeks_and_months_are_the_sums_of_their_days(sales: Sales, granularity: str) -> None:
    body = await sales.get("/analytics/revenue", granularity=granularity, currency="EUR")
    starts = [datetime.fromisoformat(bucket["start"]) for bucket in body["buckets"]]
    assert all(start.weekday() == 0 if granularity == "week" else start.day == 1 for start in starts)
    ends = [*starts[1:], starts[-1] + timedelta(days=31)]
    for bucket, start, end in zip(body["buckets"], starts, ends, strict=True):
        orders = sales.within(f"{start:%Y-%m-%d}", f"{end:%Y-%m-%d}")
        assert bucket["orders"] == len(orders)
        assert bucket["revenue"] == sum(order.total for order in orders)
    orders = sales.within("2026-01-01", "2027-01-01")
    assert body["total"]["revenue"] == sum(order.total for order in orders)
    assert body["average_order_value"] == average_order_value(body["total"]["revenue"], len(orders))
    refused = await sales.client.get(f"/analytics/revenue?granularity={granularity}&from=2026-02-03")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "from")


def quintiles(values: dict[str, Any]) -> dict[str, int]:
    """1 to 5 in the order of value, then id; the first parts are one larger where the number cannot be divided by five."""
    ranked = sorted(values, key=lambda customer: (values[customer], customer))
    sizes = [len(ranked) // 5 + (place < len(ranked) % 5) for place in range(5)]
    scores = [score for score, size in enumerate(sizes, 1) for _ in range(size)]
    return dict(zip(ranked, scores, strict=True))


@pytest.mark.parametrize(("start", "end"), [MONTH, ("2026-01-01", "2026-05-01"), ("2026-04-28", "2026-04-29")])
async def test_segments_and_quintiles_are_exact(sales: Sales, start: str, end: str) -> None:
    body = await sales.get("/analytics/segments", **{"from": start, "to": end, "currency": "EUR"})
    Segments.model_validate(body)
    earlier = {order.customer_id for order in sales.within("2026-01-01", start, None)}
    here = {order.customer_id for order in sales.within(start, end, None)}
    members = {"new": here - earlier, "returning": here & earlier, "lapsed": earlier - here}
    orders = sales.within(start, end)
    for name, customers in members.items():
        mine = [order for order in orders if order.customer_id in customers]
        revenue = sum(order.total for order in mine)
        assert body["segments"][name] == {
            **{"customers": len(customers), "orders": len(mine), "revenue": revenue},
            "average_order_value": average_order_value(revenue, len(mine)),
        }
    latest: dict[str, datetime] = {}
    count: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    for order in orders:
        latest[order.customer_id] = max(order.placed_at, latest.get(order.customer_id, order.placed_at))
        count[order.customer_id] += 1
        spent[order.customer_id] += order.total
    scores = [quintiles(latest), quintiles(dict(count)), quintiles({customer: spent[customer] for customer in count})]
    cells = Counter(tuple(score[customer] for score in scores) for customer in count)
    found = {(cell["recency"], cell["frequency"], cell["monetary"]): cell for cell in body["rfm"]["cells"]}
    assert {place: cell["customers"] for place, cell in found.items()} == cells
    assert sum(cell["revenue"] for cell in found.values()) == sum(order.total for order in orders)
    assert body["rfm"]["customers"] == len(count)


async def test_figures_that_lack_events_of_older_code_are_refused(sales: Sales) -> None:
    await sales.redis.hincrby(KEYS.progress, "0:events_applied", 1)
    try:
        for path in ("/analytics/categories", "/analytics/report?month=2026-02&by=region"):
            refused = await sales.client.get(path)
            assert (refused.status_code, refused.json()["code"]) == (503, "sales-incomplete")
            assert "tidemark projections rebuild analytics" in refused.json()["detail"]
        assert (await sales.client.get("/analytics/report?month=2026-02&by=segment")).status_code == 200
    finally:
        await sales.redis.hincrby(KEYS.progress, "0:events_applied", -1)


async def test_a_range_after_all_orders_has_lapsed_customers_only(sales: Sales) -> None:
    segments = (await sales.get("/analytics/segments", **{"from": "9999-12-31"}))["segments"]
    assert {name: found["customers"] > 0 for name, found in segments.items()} == {
        **{"new": False, "returning": False, "lapsed": True}
    }
    nobody = (await sales.get("/analytics/segments", to="1960-01-01"))["segments"]
    assert all(found["customers"] == 0 for found in nobody.values())
