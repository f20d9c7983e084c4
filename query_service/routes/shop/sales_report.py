"""The monthly sales report by region, category or segment, as JSON or CSV; from the read stores alone."""

from datetime import UTC, datetime
from typing import Annotated, Final

from litestar import Response
from litestar.params import QueryParameter

from query_service.analytics.csv_table import MEDIA_TYPE
from query_service.analytics.extent import default_currencies
from query_service.analytics.parameters import Currency
from query_service.analytics.ranges import Granularity
from query_service.analytics.report import By, Figures, as_csv, as_json, figures, report
from query_service.analytics.sales_by import buyers_by, sales_by
from query_service.http.cached import Cached
from query_service.http.conditional import conditional_response
from query_service.http.negotiation import ACCEPT, VARY, chosen
from query_service.http.openapi import problem_response
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.contracts.values import MONTH
from shared.views.analytics import Dimension, SalesReport, month_of

JSON: Final = "application/json"
_NOT_ACCEPTABLE: Final = problem_response(
    406,
    "`Accept` allows neither `application/json` nor `text/csv`.",
    "not-acceptable",
    "this route answers with application/json or text/csv; Accept allows neither",
    "/analytics/report",
)

# $1 and $2: the month's start and end; $3: the currency. A buyer is new if none of their orders, in any currency, is older.
BY_SEGMENT: Final = """
WITH buyer AS MATERIALIZED (
    SELECT customer_id, count(*) AS orders, sum(item_count) AS items, sum(total) AS revenue
    FROM orders
    WHERE status <> 'cancelled' AND placed_at >= $1 AND placed_at < $2 AND currency = $3
    GROUP BY customer_id
)
SELECT CASE WHEN EXISTS (
           SELECT FROM orders older
           WHERE older.customer_id = buyer.customer_id AND older.placed_at < $1 AND older.status <> 'cancelled'
       ) THEN 'returning' ELSE 'new' END AS segment,
       sum(orders)::text AS orders, sum(items)::text AS items, sum(revenue)::text AS revenue, count(*) AS customers
FROM buyer
GROUP BY 1
"""


@read_route(
    "/analytics/report",
    needs="queries:analytics",
    tags=["analytics"],
    summary="The monthly sales report",
    responses={406: _NOT_ACCEPTABLE},
    cached=Cached(lambda given: "summary" if given["by"] is By.SEGMENT else "analytics"),
)
async def sales_report(
    request: QueryRequest,
    month: Annotated[
        str,
        QueryParameter(pattern=MONTH, description="Like 2026-03; UTC, by `placed_at`."),
    ],
    by: Annotated[By, QueryParameter(description="What each row is about.")],
    currency: Currency = None,
) -> Response[SalesReport]:
    """Orders that were placed in the month and not cancelled, in one currency, by region, category or customer segment.

    With `Accept: text/csv` the answer is CSV (RFC 4180) with a header line: `row` (`region`, `category` or `segment`; `total` in the last
    line), `key`, `currency` and the figures, money in minor units. A text that a spreadsheet would run as a formula (it begins with
    `= + - @`) or that begins with an apostrophe has an apostrophe in front.

    Region and category are those that the customer and the product had when the order was placed; `key` is null (in CSV: empty) where they
    were unknown. An order counts once in each category of its lines, and a customer in each row that they bought in: `total` counts each
    order and each customer once. `new` customers have no order before the month, `returning` ones have; cancelled orders do not count.
    503 `sales-incomplete` until analytics has been rebuilt, if older code, which did not count by region and category, applied any.
    """
    media_type = chosen(request.headers.getall(ACCEPT, []), (JSON, MEDIA_TYPE))
    start = datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC)
    if by is By.SEGMENT:
        currencies = [currency] if currency else await default_currencies(request)
        summary, as_of = await request.read(request.stores.postgres("summary"))
        rows = await _by_segment(summary, start, currencies)
        total = _sum([each for _, each in rows])
    else:
        analytics, as_of = await request.read(request.stores.redis("analytics"))
        currencies = [currency] if currency else await default_currencies(request)
        rows, total = await _by_dimension(analytics, Dimension(by.value), start, currencies)
    found = report(month, by, currencies, rows, total)
    headers = {**as_of, **VARY}
    if media_type == MEDIA_TYPE:
        return conditional_response(request, as_csv(found), headers, media_type=MEDIA_TYPE)
    return conditional_response(request, as_json(found), headers)


async def _by_segment(
    summary: PostgresStore, start: datetime, currencies: list[str]
) -> list[tuple[str | None, Figures]]:
    if not currencies:
        return []
    end = Granularity.MONTH.following(start)
    return [
        (row["segment"], figures(int(row["orders"]), int(row["items"]), int(row["revenue"]), row["customers"]))
        for row in await summary.fetch(BY_SEGMENT, start, end, currencies[0])
    ]


async def _by_dimension(
    store: RedisStore, dimension: Dimension, start: datetime, currencies: list[str]
) -> tuple[list[tuple[str | None, Figures]], Figures]:
    if not currencies:
        return [], _sum([])
    currency, month = currencies[0], month_of(start)
    sums = await sales_by(store, dimension, currency, [month])
    customers, all_customers = await buyers_by(store, dimension, currency, month)
    rows = [
        (value or None, figures(metrics[0], metrics[1], metrics[2], customers[value]))
        for value, metrics in sums.items()
    ]
    # Every order has one region, if only an unknown one: all regions together are the whole.
    of_regions = dimension is Dimension.REGION
    regions = sums if of_regions else await sales_by(store, Dimension.REGION, currency, [month])
    orders, items, revenue = (sum(metrics[place] for metrics in regions.values()) for place in range(3))
    return rows, figures(orders, items, revenue, all_customers)


def _sum(parts: list[Figures]) -> Figures:
    """Of rows that have no order and no customer in common."""
    names = ("orders", "items", "revenue", "customers")
    return figures(*(sum(each[name] or 0 for each in parts) for name in names))


ROUTES: Final = (sales_report,)
