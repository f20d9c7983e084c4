"""Analytics over time: revenue, top products, number of customers. All by ``placed_at``, in UTC, ``to`` exclusive.

Amounts in different currencies are never added. A query without a currency is answered in one currency (see ``_currencies``), in the
same form as while there is only one, and additionally in each currency under ``by_currency``. So clients written for one currency
keep working.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from query_service.analytics.ranges import (
    MAX_BUCKETS,
    Granularity,
    Range,
    RequestedRange,
    bucket_starts,
    day_range,
    requested_range,
    spans,
)
from query_service.analytics.ranking import top
from query_service.analytics.sales import Sales
from query_service.http.cached import Cached
from query_service.http.conditional import conditional_response
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.stores.redis_store import RedisStore
from shared.views.analytics import FIRST_CURRENCY, METRICS, DistinctCustomers, Revenue, TopProduct, TopProducts

MAX_PRODUCTS: Final = 1000
SCAN_COUNT: Final = 5000
"""Customers in one Redis reply."""
MAX_CURRENCIES: Final = 20
MAX_CURRENCY_BUCKETS: Final = 5 * MAX_BUCKETS
"""Above these limits ``by_currency`` is null: clients have to query by ``currency``."""

_EDGE: Final = "a date or an RFC 3339 time at the start of a bucket, UTC; default: as far as there is data"
From = Annotated[str | None, QueryParameter(name="from", max_length=40, description=f"Inclusive: {_EDGE}.")]
To = Annotated[str | None, QueryParameter(name="to", max_length=40, description=f"Exclusive: {_EDGE}.")]
Currency = Annotated[
    str | None,
    QueryParameter(
        pattern="^[A-Z]{3}$",
        description="ISO 4217. Default: the service's own (`TIDEMARK_CURRENCY`), else the currency of the first order seen; if there are"
        " several, each of them is also under `by_currency`.",
    ),
]


_Bucket: Final = msgspec.defstruct("_Bucket", ["start", *METRICS])
_Product: Final = msgspec.defstruct("_Product", list(TopProduct.model_fields))


class Measure(StrEnum):
    UNITS = "units"
    REVENUE = "revenue"


@read_route("/analytics/revenue", tags=["analytics"], summary="Revenue by hour or day", cached=Cached("analytics"))
async def revenue(
    request: QueryRequest,
    from_: From = None,
    to: To = None,
    granularity: Annotated[Granularity, QueryParameter(description="The size of a bucket.")] = Granularity.DAY,
    currency: Currency = None,
) -> Response[Revenue]:
    """Orders, units and revenue in minor units for every bucket, including empty ones, and their total.

    A cancelled order is subtracted from the bucket in which it was placed and counted there under `cancelled`.
    `currency` is null only as long as there has been no order. Sums are exact, with all digits, and may exceed 2^53.
    """
    query = requested_range(from_, to, granularity)
    store, as_of = await request.read(request.stores.redis("analytics"))
    data, currencies = None, [currency] if currency else []
    if not currencies or not query.complete:
        seen, data = await _extent(store)
        currencies = currencies or _currencies(seen, request.app.state.currency)
    range_ = query.resolve(data)
    times = bucket_starts(range_, granularity) if range_ else []
    several = 1 < len(currencies) <= MAX_CURRENCIES and len(times) * len(currencies) <= MAX_CURRENCY_BUCKETS
    sums = await _sums(store, currencies if several else currencies[:1], times, granularity)
    answers = [
        {
            "buckets": [_Bucket(time, *row) for time, row in zip(times, rows, strict=True)],
            "total": {metric: sum(row[place] for row in rows) for place, metric in enumerate(METRICS)},
        }
        for rows in sums or [[[0] * len(METRICS) for _ in times]]
    ]
    body = {"currency": currencies[0] if currencies else None, "granularity": granularity, **answers[0]}
    return conditional_response(request, msgspec.json.encode(body | _by_currency(currencies, answers)), as_of)


@read_route("/analytics/top-products", tags=["analytics"], summary="Best-selling products", cached=Cached("analytics"))
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
    seen, data = await _extent(store)
    currencies = [currency] if currency else _currencies(seen, request.app.state.currency)
    span_names = _spans(query, data) if currencies else []
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
    several = {"currency": currencies[0]} | _by_currency(currencies, answers) if len(currencies) > 1 else {}
    return conditional_response(request, msgspec.json.encode(first | several), as_of)


@read_route("/analytics/customers", tags=["analytics"], summary="Number of customers", cached=Cached("analytics"))
async def distinct_customers(request: QueryRequest, from_: From = None, to: To = None) -> Response[DistinctCustomers]:
    """The exact number of customers who placed an order that was not cancelled; whole days only."""
    query = requested_range(from_, to, Granularity.DAY)
    store, as_of = await request.read(request.stores.redis("analytics"))
    _, data = await _extent(store)
    distinct = await _distinct(store, _spans(query, data))
    return conditional_response(request, msgspec.json.encode({"distinct": distinct}), as_of)


async def _extent(store: RedisStore) -> tuple[list[str], Range | None]:
    """The currencies seen, starting with that of the first order, and the days with data."""
    keys = store.keys
    seen, head, first, last = await store.ask(
        ("SMEMBERS", keys.currencies),
        ("HGET", keys.first, FIRST_CURRENCY),
        ("ZRANGE", keys.days, 0, 0),
        ("ZRANGE", keys.days, -1, -1),
    )
    currencies = sorted(seen, key=lambda currency: (currency != head, currency))
    return currencies, day_range(first[0], last[0]) if first else None


def _currencies(seen: list[str], own: str) -> list[str]:
    """The currencies of a query that names none. The first, in which it is answered, is ``own`` or else that of the first order."""
    return [own, *(currency for currency in seen if currency != own)] if own else seen


def _by_currency(currencies: Sequence[str], answers: Sequence[Any]) -> dict[str, Any]:
    """Empty while there is one currency; otherwise all currencies, and the result in each unless there are too many."""
    if len(currencies) < 2:
        return {}
    whole = len(answers) == len(currencies)
    return {"currencies": currencies, "by_currency": dict(zip(currencies, answers, strict=True)) if whole else None}


def _spans(query: RequestedRange, data: Range | None) -> list[str]:
    range_ = query.resolve(data)
    if data is None or range_ is None:
        return []
    return spans(range_, data)


async def _sums(
    store: RedisStore, currencies: Sequence[str], times: list[datetime], granularity: Granularity
) -> list[list[list[int]]]:
    """The METRICS of each currency and bucket; zeros for empty buckets."""
    if not times:
        return [[] for _ in currencies]
    key_of = store.keys.hours_in if granularity is Granularity.HOUR else store.keys.days_in
    fields = [f"{stamp}:{metric}" for stamp in map(granularity.stamp, times) for metric in METRICS]
    found = []
    for values in await store.ask(*(("HMGET", key_of(currency), *fields) for currency in currencies)):
        numbers = [int(value or 0) for value in values]
        found.append([numbers[i : i + len(METRICS)] for i in range(0, len(numbers), len(METRICS))])
    return found


async def _names(store: RedisStore, product_ids: list[str]) -> list[str | None]:
    """The name of each product in the catalogue, or else in an order line."""
    if not product_ids:
        return []
    own, lines = await store.ask(
        ("HMGET", store.keys.names, *product_ids), ("HMGET", store.keys.line_names, *product_ids)
    )
    return [name if name is not None else line for name, line in zip(own, lines, strict=True)]


async def _distinct(store: RedisStore, span_names: list[str]) -> int:
    if not span_names:
        return 0
    keys = [store.keys.buyers(span) for span in span_names]
    counts = await store.ask(*(("HLEN", key) for key in keys))
    if len(keys) == 1:
        return int(counts[0])
    customers: set[str] = set()
    small = [key for key, count in zip(keys, counts, strict=True) if count <= SCAN_COUNT]
    for found in await store.ask(*(("HKEYS", key) for key in small)):
        customers.update(found)
    cursors = {key: 0 for key in keys if key not in small}
    while cursors:
        # In steps, so that a large set of customers does not block Redis for its other clients.
        replies = await store.ask(*(("HSCAN", key, at, "COUNT", SCAN_COUNT) for key, at in cursors.items()))
        for key, (following, found) in zip(list(cursors), replies, strict=True):
            customers.update(found)
            if following:
                cursors[key] = int(following)
            else:
                del cursors[key]
    return len(customers)


ROUTES: Final = (
    revenue,
    top_products,
    distinct_customers,
)
