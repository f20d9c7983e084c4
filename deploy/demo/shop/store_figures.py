"""Reads the figures from the stores: summary and search by SQL over their rows, analytics through its routes."""

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from deploy.demo.read_stores import PostgresReadStore, QueryService, ReadStores
from deploy.demo.shop.figures import BEST_DAYS, REPORT_ROWS, SEARCH_WORDS, TOP_PRODUCTS, Figures, middle

TOTALS: Final = """
SELECT count(*)::bigint AS orders, coalesce(sum(item_count), 0)::bigint AS items,
    coalesce(sum(total), 0)::bigint AS revenue, count(DISTINCT customer_id)::bigint AS customers
FROM orders WHERE status <> 'cancelled'
"""
DAYS: Final = """
SELECT (placed_at AT TIME ZONE 'UTC')::date AS day, sum(total)::bigint AS revenue
FROM orders WHERE status <> 'cancelled'
GROUP BY day ORDER BY revenue DESC, day LIMIT $1
"""
# Ids are text and compared byte by byte, whatever the database's collation.
TOP: Final = """
SELECT line.product_id, sum(CASE WHEN $1 = 'units' THEN line.quantity ELSE line.amount END)::bigint AS measure
FROM orders,
    jsonb_to_recordset(doc::jsonb -> 'lines') AS line (product_id text, quantity bigint, amount bigint)
WHERE status <> 'cancelled'
GROUP BY line.product_id ORDER BY measure DESC, line.product_id COLLATE "C" LIMIT $2
"""
WORD: Final = """
SELECT count(*) FROM products
WHERE concat_ws(' ', name, category, doc ->> 'brand') ~* ('(^|[^a-z0-9])' || $1 || '([^a-z0-9]|$)')
"""


async def store_figures(stores: ReadStores, words: Sequence[str] = SEARCH_WORDS) -> dict[str, Figures]:
    """Store → its figures."""
    summary, analytics, search = await asyncio.gather(
        _summary(stores.summary, stores.query, words),
        _analytics(stores.query),
        _search(stores.search, stores.query, words),
    )
    return {"summary": summary, "analytics": analytics, "search": search}


async def _summary(store: PostgresReadStore, query: QueryService, words: Sequence[str]) -> Figures:
    top_by_units = await _top(store, "units")
    return Figures(
        **await _totals(store),
        **await _segments(query),
        top_by_units=top_by_units,
        bought_together=await _bought_together(query, top_by_units),
        top_by_revenue=await _top(store, "revenue"),
        hits={word: (await store.fetch(WORD, word))[0][0] for word in words},
    )


async def _search(store: PostgresReadStore, query: QueryService, words: Sequence[str]) -> Figures:
    hits = {}
    for word in words:
        # Quoted, so that only the whole word matches and not its prefixes.
        hits[word] = (await query.get("/search/products", q=f'"{word}"', limit=1))["total"]
    return Figures(**await _totals(store), hits=hits)


async def _analytics(query: QueryService) -> Figures:
    revenue = await query.get("/analytics/revenue", granularity="day")
    top = {}
    for measure in ("units", "revenue"):
        answer = await query.get("/analytics/top-products", by=measure, limit=TOP_PRODUCTS)
        top[measure] = tuple((item["product_id"], item[measure]) for item in answer["items"])
    return Figures(
        orders=revenue["total"]["orders"],
        items=revenue["total"]["items"],
        revenue=revenue["total"]["revenue"],
        best_days=_best(await _buckets(query, "day")),
        top_by_units=top["units"],
        top_by_revenue=top["revenue"],
        distinct_customers=(await query.get("/analytics/customers"))["distinct"],
        best_weeks=_best(await _buckets(query, "week")),
        months=tuple(await _buckets(query, "month")),
        **await _reports(query),
    )


async def _buckets(query: QueryService, granularity: str) -> list[tuple[date, int]]:
    """The revenue of each bucket that has any, by its first day."""
    found = (await query.get("/analytics/revenue", granularity=granularity))["buckets"]
    return [(date.fromisoformat(each["start"][:10]), each["revenue"]) for each in found if each["revenue"]]


def _best(buckets: Sequence[tuple[date, int]]) -> tuple[tuple[date, int], ...]:
    return tuple(sorted(buckets, key=lambda bucket: (-bucket[1], bucket[0]))[:BEST_DAYS])


async def _reports(query: QueryService) -> dict[str, Any]:
    """The report of the last month, as a dashboard gets it."""
    days = await _buckets(query, "day")
    if not days:
        return {}
    month = f"{days[-1][0]:%Y-%m}"
    regions, categories = [
        (await query.get("/analytics/report", month=month, by=by))["rows"][:REPORT_ROWS]
        for by in ("region", "category")
    ]
    return {
        "by_region": tuple((row["key"], row["revenue"]) for row in regions),
        "buyers_by_region": tuple((row["key"], row["customers"]) for row in regions),
        "by_category": tuple((row["key"], row["revenue"]) for row in categories),
    }


async def _segments(query: QueryService) -> dict[str, Any]:
    days = await _buckets(query, "day")
    if not days:
        return {}
    report = await query.get("/analytics/report", month=f"{days[-1][0]:%Y-%m}", by="segment")
    revenue = {row["key"]: row["revenue"] for row in report["rows"]}
    segments = await query.get("/analytics/segments", **{"from": middle(days[0][0], days[-1][0]).isoformat()})
    customers = {name: each["customers"] for name, each in segments["segments"].items()}
    return {"by_segment": _in_order(revenue), "segments": _in_order(customers)}


async def _bought_together(query: QueryService, best: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """As the page of the best-selling product shows it."""
    if not best:
        return ()
    page = await query.get(f"/products/{best[0][0]}/page")
    return tuple((one["product_id"], one["orders"]) for one in page["related"][:REPORT_ROWS])


def _in_order(numbers: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple((name, numbers[name]) for name in ("new", "returning", "lapsed") if numbers.get(name))


async def _totals(store: PostgresReadStore) -> dict[str, Any]:
    [totals] = await store.fetch(TOTALS)
    return {
        "orders": totals["orders"],
        "items": totals["items"],
        "revenue": totals["revenue"],
        "distinct_customers": totals["customers"],
        "best_days": tuple((row["day"], row["revenue"]) for row in await store.fetch(DAYS, BEST_DAYS)),
    }


async def _top(store: PostgresReadStore, measure: str) -> tuple[tuple[str, int], ...]:
    return tuple((row["product_id"], row["measure"]) for row in await store.fetch(TOP, measure, TOP_PRODUCTS))
