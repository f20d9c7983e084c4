"""Top categories: by the category that each product had when it was sold."""

from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from query_service.analytics.extent import MAX_CURRENCIES, by_currency, currencies_of, extent
from query_service.analytics.parameters import Currency, From, To
from query_service.analytics.ranges import Granularity, Range, RequestedRange, months_and_days, requested_range
from query_service.analytics.sales_by import sales_by
from query_service.http.cached import Cached
from query_service.http.conditional import conditional_response
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.stores.redis_store import RedisStore
from shared.views.analytics import METRICS, Dimension, TopCategories, average_order_value

MAX_CATEGORIES: Final = 1000


class CategoryMeasure(StrEnum):
    REVENUE = "revenue"
    UNITS = "units"
    ORDERS = "orders"


_RANKED: Final = {CategoryMeasure.REVENUE: "revenue", CategoryMeasure.UNITS: "items", CategoryMeasure.ORDERS: "orders"}


@read_route(
    "/analytics/categories",
    needs="queries:analytics",
    tags=["analytics"],
    summary="Best-selling categories",
    cached=Cached("analytics"),
)
async def top_categories(
    request: QueryRequest,
    from_: From = None,
    to: To = None,
    by: Annotated[CategoryMeasure, QueryParameter(description="What to rank by.")] = CategoryMeasure.REVENUE,
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_CATEGORIES, description="How many.")] = 10,
    currency: Currency = None,
) -> Response[TopCategories]:
    """The best-selling categories over whole days, in one currency; ties are ordered by category. Those without sales are not listed.

    The category is the one that the product had when the order was placed; null: it was unknown. An order counts once in each category of
    its lines, so the sum of `orders` over categories may exceed the number of orders; `items` and `revenue` add up exactly.
    503 `sales-incomplete` until analytics has been rebuilt, if older code, which did not count by category, has applied any event.
    """
    query = requested_range(from_, to, Granularity.DAY)
    store, as_of = await request.read(request.stores.redis("analytics"))
    seen, data = await extent(store)
    currencies = [currency] if currency else currencies_of(seen, request.app.state.currency)
    spans = _spans(query, data)
    answered = currencies if len(currencies) <= MAX_CURRENCIES else currencies[:1]
    answers = [{"items": await _top(store, each, spans, _RANKED[by], limit)} for each in answered]
    first = {"currency": currencies[0] if currencies else None, **(answers[0] if answers else {"items": []})}
    return conditional_response(request, msgspec.json.encode(first | by_currency(currencies, answers)), as_of)


def _spans(query: RequestedRange, data: Range | None) -> list[str]:
    """The months and days to add up: of a range around all data, those of the data."""
    range_ = query.resolve(data)
    return [] if data is None or range_ is None else list(months_and_days(range_.within(data)))


async def _top(store: RedisStore, currency: str, spans: list[str], ranked: str, limit: int) -> list[dict[str, Any]]:
    sums = await sales_by(store, Dimension.CATEGORY, currency, spans)
    rows: list[dict[str, Any]] = [
        {"category": value or None} | dict(zip(METRICS, metrics, strict=True)) for value, metrics in sums.items()
    ]
    rows = [row for row in rows if row[ranked] > 0]
    rows.sort(key=lambda row: (-row[ranked], row["category"] or ""))
    return [row | {"average_order_value": average_order_value(row["revenue"], row["orders"])} for row in rows[:limit]]


ROUTES: Final = (top_categories,)
