"""Reads the figures from the stores: summary and search by SQL over their rows, analytics through its routes."""

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from deploy.demo.read_stores import PostgresReadStore, QueryService, ReadStores
from deploy.demo.shop.figures import BEST_DAYS, SEARCH_WORDS, TOP_PRODUCTS, Figures

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
        _summary(stores.summary, words), _analytics(stores.query), _search(stores.search, stores.query, words)
    )
    return {"summary": summary, "analytics": analytics, "search": search}


async def _summary(store: PostgresReadStore, words: Sequence[str]) -> Figures:
    return Figures(
        **await _totals(store),
        top_by_units=await _top(store, "units"),
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
    buckets = [(date.fromisoformat(bucket["start"][:10]), bucket["revenue"]) for bucket in revenue["buckets"]]
    best = sorted((bucket for bucket in buckets if bucket[1]), key=lambda bucket: (-bucket[1], bucket[0]))
    top = {}
    for measure in ("units", "revenue"):
        answer = await query.get("/analytics/top-products", by=measure, limit=TOP_PRODUCTS)
        top[measure] = tuple((item["product_id"], item[measure]) for item in answer["items"])
    return Figures(
        orders=revenue["total"]["orders"],
        items=revenue["total"]["items"],
        revenue=revenue["total"]["revenue"],
        best_days=tuple(best[:BEST_DAYS]),
        top_by_units=top["units"],
        top_by_revenue=top["revenue"],
        distinct_customers=(await query.get("/analytics/customers"))["distinct"],
    )


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
