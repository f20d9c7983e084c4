"""Analytics over time: revenue, top products, number of customers. All by ``placed_at``, in UTC, ``to`` exclusive.

Amounts in different currencies are never added: see ``query_service.analytics.extent``.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from query_service.analytics.buyers import distinct
from query_service.analytics.extent import (
    MAX_CURRENCIES,
    MAX_CURRENCY_BUCKETS,
    by_currency,
    currencies_of,
    extent,
    spans_of,
)
from query_service.analytics.parameters import Currency, From, To
from query_service.analytics.ranges import Granularity, bucket_starts, days_of, requested_range
from query_service.analytics.ranking import top
from query_service.analytics.sales import Sales
from query_service.http.cached import Cached
from query_service.http.conditional import conditional_response
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.stores.redis_store import RedisStore
from shared.views.analytics import (
    METRICS,
    DistinctCustomers,
    Revenue,
    TopProduct,
    TopProducts,
    average_order_value,
    day_of,
    hour_of,
)

MAX_PRODUCTS: Final = 1000

_Bucket: Final = msgspec.defstruct("_Bucket", ["start", *METRICS])
_Product: Final = msgspec.defstruct("_Product", list(TopProduct.model_fields))


class Measure(StrEnum):
    UNITS = "units"
    REVENUE = "revenue"


@read_route(
    "/analytics/revenue",
    needs="queries:analytics",
    tags=["analytics"],
    summary="Revenue by hour, day, week or month",
    cached=Cached("analytics"),
)
async def revenue(
    request: QueryRequest,
    from_: From = None,
    to: To = None,
    granularity: Annotated[Granularity, QueryParameter(description="The size of a bucket.")] = Granularity.DAY,
    currency: Currency = None,
) -> Response[Revenue]:
    """Orders, units and revenue in minor units for every bucket, including empty ones, and their total.

    A cancelled order is subtracted from the bucket in which it was placed and counted there under `cancelled`.
    A week is that of ISO 8601: it starts on Monday, UTC. `average_order_value` is that of `total`:
    revenue divided by orders, rounded to the nearest minor unit, halves up; null without orders.
    Without `to` the last bucket is that of tomorrow at the latest: what is dated later is found by asking for it. Without `from` there
    are at most 10,000 buckets by hour or day.
    `currency` is null only as long as there has been no order. Sums are exact, with all digits, and may exceed 2^53.
    """
    query = requested_range(from_, to, granularity)
    store, as_of = await request.read(request.stores.redis("analytics"))
    data, currencies = None, [currency] if currency else []
    if not currencies or not query.complete:
        seen, data = await extent(store)
        currencies = currencies or currencies_of(seen, request.app.state.currency)
    range_ = query.in_buckets(data, granularity, datetime.now(UTC))
    times = bucket_starts(range_, granularity) if range_ else []
    several = 1 < len(currencies) <= MAX_CURRENCIES and len(times) * len(currencies) <= MAX_CURRENCY_BUCKETS
    sums = await _sums(store, currencies if several else currencies[:1], times, granularity)
    answers = [
        {
            "buckets": [_Bucket(time, *row) for time, row in zip(times, rows, strict=True)],
            **_total(rows),
        }
        for rows in sums or [[[0] * len(METRICS) for _ in times]]
    ]
    body = {"currency": currencies[0] if currencies else None, "granularity": granularity, **answers[0]}
    return conditional_response(request, msgspec.json.encode(body | by_currency(currencies, answers)), as_of)


@read_route(
    "/analytics/top-products",
    needs="queries:analytics",
    tags=["analytics"],
    summary="Best-selling products",
    cached=Cached("analytics"),
)
async def top_products(
    request: QueryRequest,
    from_: From = None,
    to: To = None,
    by: Annotated[Measure, QueryParameter(description="What to rank by.")] = Measure.UNITS,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PRODUCTS, description="How many.")] = 10,
    currency: Currency = None,
) -> Response[TopProducts]:
    """The best-selling products over whole days; ties are ordered by product id. Products without sales are not listed.

    `revenue` is in `currency`; `units` are those sold in any currency. Sums are exact, with all digits, and may exceed 2^53.
    """
    query = requested_range(from_, to, Granularity.DAY)
    store, as_of = await request.read(request.stores.redis("analytics"))
    seen, data = await extent(store)
    currencies = [currency] if currency else currencies_of(seen, request.app.state.currency)
    span_names = spans_of(query, data) if currencies else []
    units = Sales(store, [store.keys.units(span) for span in span_names])
    by_units = await top(units, limit) if span_names and by is Measure.UNITS else []
    answers = []
    for each in currencies if len(currencies) <= MAX_CURRENCIES else currencies[:1]:
        sales = Sales(store, [store.keys.sales(each, span) for span in span_names])
        if by is Measure.UNITS:
            ranked, revenues = by_units, await sales.totals([product_id for product_id, _ in by_units])
            counts = [count for _, count in ranked]
        else:
            ranked = await top(sales, limit) if span_names else []
            counts, revenues = await units.totals([product_id for product_id, _ in ranked]), [one for _, one in ranked]
        product_ids = [product_id for product_id, _ in ranked]
        named = zip(product_ids, await _names(store, product_ids), counts, revenues, strict=True)
        answers.append({"items": [_Product(*product) for product in named]})
    first = answers[0] if answers else {"items": []}
    several = {"currency": currencies[0]} | by_currency(currencies, answers) if len(currencies) > 1 else {}
    return conditional_response(request, msgspec.json.encode(first | several), as_of)


@read_route(
    "/analytics/customers",
    needs="queries:analytics",
    tags=["analytics"],
    summary="Number of customers",
    cached=Cached("analytics"),
)
async def distinct_customers(request: QueryRequest, from_: From = None, to: To = None) -> Response[DistinctCustomers]:
    """The exact number of customers who placed an order that was not cancelled; whole days only."""
    query = requested_range(from_, to, Granularity.DAY)
    store, as_of = await request.read(request.stores.redis("analytics"))
    _, data = await extent(store)
    number = await distinct(store, [store.keys.buyers(span) for span in spans_of(query, data)])
    return conditional_response(request, msgspec.json.encode({"distinct": number}), as_of)


def _total(rows: Sequence[Sequence[int]]) -> dict[str, Any]:
    total = {metric: sum(row[place] for row in rows) for place, metric in enumerate(METRICS)}
    return {"total": total, "average_order_value": average_order_value(total["revenue"], total["orders"])}


async def _sums(
    store: RedisStore, currencies: Sequence[str], times: list[datetime], granularity: Granularity
) -> list[list[list[int]]]:
    """The METRICS of each currency and bucket; zeros for empty buckets."""
    if not times:
        return [[] for _ in currencies]
    hourly = granularity is Granularity.HOUR
    key_of = store.keys.hours_in if hourly else store.keys.days_in
    parts = [[hour_of(time)] if hourly else list(map(day_of, days_of(time, granularity))) for time in times]
    fields = [f"{stamp}:{metric}" for stamps in parts for stamp in stamps for metric in METRICS]
    found = []
    for values in await store.ask(*(("HMGET", key_of(currency), *fields) for currency in currencies)):
        numbers, start, rows = [int(value or 0) for value in values], 0, []
        for stamps in parts:
            end = start + len(stamps) * len(METRICS)
            rows.append([sum(numbers[start + place : end : len(METRICS)]) for place in range(len(METRICS))])
            start = end
        found.append(rows)
    return found


async def _names(store: RedisStore, product_ids: list[str]) -> list[str | None]:
    """The name of each product in the catalogue, or else in an order line."""
    if not product_ids:
        return []
    own, lines = await store.ask(
        ("HMGET", store.keys.names, *product_ids), ("HMGET", store.keys.line_names, *product_ids)
    )
    return [name if name is not None else line for name, line in zip(own, lines, strict=True)]


ROUTES: Final = (
    revenue,
    top_products,
    distinct_customers,
)
