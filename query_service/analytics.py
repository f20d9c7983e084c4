"""Sums over time: revenue, what sold most, how many customers. All by ``placed_at``, in UTC, ``to`` exclusive."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from query_service.analytics_store import AnalyticsStore, Command
from query_service.conditional import answer
from query_service.problems import InvalidParameterError
from query_service.ranges import Asked, Granularity, Range, asked, day_range, spans, starts
from query_service.ranking import top
from query_service.reading import reads
from query_service.requests import QueryRequest
from shared.views.analytics import METRICS, DistinctCustomers, Revenue, TopProducts, figure, rounded

MAX_PRODUCTS: Final = 1000
AT_ONCE: Final = 5000
"""Customers in one reply of Redis."""

_EDGE: Final = "a date or an RFC 3339 time at the start of a bucket, UTC; left out: as far as there is data"
From = Annotated[str | None, QueryParameter(name="from", max_length=40, description=f"Inclusive: {_EDGE}.")]
To = Annotated[str | None, QueryParameter(name="to", max_length=40, description=f"Exclusive: {_EDGE}.")]
Currency = Annotated[
    str | None,
    QueryParameter(
        pattern="^[A-Z]{3}$", description="ISO 4217. May be left out while orders of one currency only were seen."
    ),
]


_Bucket: Final = msgspec.defstruct("_Bucket", ["start", *METRICS])


class Measure(StrEnum):
    UNITS = "units"
    REVENUE = "revenue"


@reads("/analytics/revenue", tags=["analytics"], summary="Revenue by hour or day")
async def revenue(
    request: QueryRequest,
    from_: From = None,
    to: To = None,
    granularity: Annotated[Granularity, QueryParameter(description="The size of a bucket.")] = Granularity.DAY,
    currency: Currency = None,
) -> Response[Revenue]:
    """Orders, units and revenue in minor units, bucket by bucket, without holes, and their total.

    A cancelled order is taken back out of the bucket it was placed in and counted there under `cancelled`.
    `currency` is null only as long as there has not been any order.
    """
    question = asked(from_, to, granularity)
    store, as_of = await request.read(request.stores.analytics)
    data = None
    if currency is None or not question.complete:
        seen, data = await _extent(store)
        currency = _the(currency, seen)
    range_ = question.over(data)
    times = starts(range_, granularity) if range_ else []
    sums = await _sums(store, currency, times, granularity)
    buckets = [_Bucket(time, *row) for time, row in zip(times, sums, strict=True)]
    total = {metric: sum(row[place] for row in sums) for place, metric in enumerate(METRICS)}
    body = {"currency": currency, "granularity": granularity, "buckets": buckets, "total": total}
    return answer(request, msgspec.json.encode(body), as_of)


@reads("/analytics/top-products", tags=["analytics"], summary="What sold most")
async def top_products(
    request: QueryRequest,
    from_: From = None,
    to: To = None,
    by: Annotated[Measure, QueryParameter(description="What to rank by.")] = Measure.UNITS,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_PRODUCTS, description="How many.")] = 10,
    currency: Currency = None,
) -> Response[TopProducts]:
    """The products that sold most, whole days only; ties in order of product id. Those that sold none are not listed.

    `revenue` is that in `currency`; `units` are those sold in any.
    """
    question = asked(from_, to, Granularity.DAY)
    store, as_of = await request.read(request.stores.analytics)
    seen, data = await _extent(store)
    currency = _the(currency, seen)
    chosen = _spans(question, data) if currency else []
    units = Sales(store, [store.keys.units(span) for span in chosen])
    sales = Sales(store, [store.keys.sales(str(currency), span) for span in chosen])
    ranked, beside = (units, sales) if by is Measure.UNITS else (sales, units)
    best = await top(ranked, limit) if chosen else []
    product_ids = [product_id for product_id, _ in best]
    others = await beside.totals(product_ids)
    names = await _names(store, product_ids)
    counts, revenues = [score for _, score in best], others
    if by is Measure.REVENUE:
        counts, revenues = revenues, counts
    items = [
        {"product_id": product_id, "name": name, "units": count, "revenue": amount}
        for product_id, name, count, amount in zip(product_ids, names, counts, revenues, strict=True)
    ]
    return answer(request, msgspec.json.encode({"items": items}), as_of)


@reads("/analytics/customers", tags=["analytics"], summary="How many customers")
async def distinct_customers(request: QueryRequest, from_: From = None, to: To = None) -> Response[DistinctCustomers]:
    """How many customers placed an order that was not cancelled, exactly; whole days only."""
    question = asked(from_, to, Granularity.DAY)
    store, as_of = await request.read(request.stores.analytics)
    _, data = await _extent(store)
    distinct = await _distinct(store, _spans(question, data))
    return answer(request, msgspec.json.encode({"distinct": distinct}), as_of)


class Sales:
    """The sorted sets of a range's spans, as ranking wants them."""

    def __init__(self, store: AnalyticsStore, keys: Sequence[str]) -> None:
        self._store = store
        self._keys = keys

    async def chunk(self, start: int, count: int) -> list[list[tuple[str, int]]]:
        last = start + count - 1
        return await self._ranked(*(("ZREVRANGE", key, start, last, "WITHSCORES") for key in self._keys))

    async def below_zero(self) -> list[list[tuple[str, int]]]:
        return await self._ranked(*(("ZRANGEBYSCORE", key, "-inf", "(0", "WITHSCORES") for key in self._keys))

    async def totals(self, members: Sequence[str]) -> list[int]:
        if not members:
            return []
        rows = await self._store.ask(*(("ZMSCORE", key, *members) for key in self._keys))
        found = {
            (key, member): float(score or 0)
            for key, row in zip(self._keys, rows, strict=True)
            for member, score in zip(members, row, strict=True)
        }
        figures = await self._figures(found)
        return [sum(figures[key, member] for key in self._keys) for member in members]

    async def _ranked(self, *commands: Command) -> list[list[tuple[str, int]]]:
        replies = await self._store.ask(*commands)
        found = {
            (key, member): float(score)
            for key, reply in zip(self._keys, replies, strict=True)
            for member, score in zip(reply[::2], reply[1::2], strict=True)
        }
        figures = await self._figures(found)
        return [
            [(member, figures[key, member]) for member in reply[::2]]
            for key, reply in zip(self._keys, replies, strict=True)
        ]

    async def _figures(self, scores: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], int]:
        """(key, member) → the figure that a score may be only the nearest double to."""
        figures = {cell: int(score) for cell, score in scores.items()}
        cells = [cell for cell, score in scores.items() if rounded(score)]
        if cells:
            keys = self._store.keys
            (texts,) = await self._store.ask(("HMGET", keys.exact, *(keys.exact_field(*cell) for cell in cells)))
            figures |= {cell: figure(scores[cell], text) for cell, text in zip(cells, texts, strict=True)}
        return figures


async def _extent(store: AnalyticsStore) -> tuple[list[str], Range | None]:
    """The currencies seen, and the days that hold data."""
    days = store.keys.days
    seen, first, last = await store.ask(
        ("SMEMBERS", store.keys.currencies), ("ZRANGE", days, 0, 0), ("ZRANGE", days, -1, -1)
    )
    return sorted(seen), day_range(first[0], last[0]) if first else None


def _the(currency: str | None, seen: list[str]) -> str | None:
    """The currency asked for, else the only one there is; None if there is none yet."""
    if currency is None and len(seen) > 1:
        raise InvalidParameterError("currency", f"say which: there are orders in {', '.join(seen)}")
    return currency or (seen[0] if seen else None)


def _spans(question: Asked, data: Range | None) -> list[str]:
    range_ = question.over(data)
    if data is None or range_ is None:
        return []
    return spans(range_, data)


async def _sums(
    store: AnalyticsStore, currency: str | None, times: list[datetime], granularity: Granularity
) -> list[list[int]]:
    """For each bucket its METRICS; zeros where nothing happened."""
    if currency is None or not times:
        return [[0] * len(METRICS) for _ in times]
    hours = granularity is Granularity.HOUR
    key = store.keys.hours_in(currency) if hours else store.keys.days_in(currency)
    fields = [f"{stamp}:{metric}" for stamp in map(granularity.stamp, times) for metric in METRICS]
    (values,) = await store.ask(("HMGET", key, *fields))
    numbers = [int(value or 0) for value in values]
    return [numbers[i : i + len(METRICS)] for i in range(0, len(numbers), len(METRICS))]


async def _names(store: AnalyticsStore, product_ids: list[str]) -> list[str | None]:
    """What the catalogue calls each product, else what an order line did."""
    if not product_ids:
        return []
    own, lines = await store.ask(
        ("HMGET", store.keys.names, *product_ids), ("HMGET", store.keys.line_names, *product_ids)
    )
    return [name if name is not None else line for name, line in zip(own, lines, strict=True)]


async def _distinct(store: AnalyticsStore, chosen: list[str]) -> int:
    if not chosen:
        return 0
    keys = [store.keys.buyers(span) for span in chosen]
    counts = await store.ask(*(("HLEN", key) for key in keys))
    if len(keys) == 1:
        return int(counts[0])
    customers: set[str] = set()
    small = [key for key, count in zip(keys, counts, strict=True) if count <= AT_ONCE]
    for found in await store.ask(*(("HKEYS", key) for key in small)):
        customers.update(found)
    cursors = {key: 0 for key in keys if key not in small}
    while cursors:
        # In steps, so that a large shop's customers do not keep Redis from its other clients.
        replies = await store.ask(*(("HSCAN", key, at, "COUNT", AT_ONCE) for key, at in cursors.items()))
        for key, (following, found) in zip(list(cursors), replies, strict=True):
            customers.update(found)
            if following:
                cursors[key] = int(following)
            else:
                del cursors[key]
    return len(customers)
