"""Customer segments for a range: new, returning, lapsed; and the quintiles of recency, frequency and monetary value (RFM)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
from litestar import Response

from query_service.analytics.extent import default_currencies
from query_service.analytics.parameters import Currency, FromTime
from query_service.http.cached import Cached
from query_service.http.conditional import conditional_response
from query_service.http.parameters import TimeParameter, parse_time
from query_service.http.problems import InvalidParameterError
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from shared.views.analytics import Segments, average_order_value

SEGMENTS: Final = Path(__file__).with_name("segments.sql").read_text()
NAMES: Final = ("new", "returning", "lapsed")

# Orders are placed between 1970 and 2199.
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
END: Final = datetime(2200, 1, 1, tzinfo=UTC)


@read_route(
    "/analytics/segments",
    needs="queries:analytics",
    tags=["analytics"],
    summary="Customer segments and RFM quintiles",
    cached=Cached("summary"),
)
async def segments(
    request: QueryRequest,
    from_: FromTime = None,
    to: TimeParameter = None,
    currency: Currency = None,
) -> Response[Segments]:
    """Who bought in the range (`to` is exclusive; without `from` or `to`: since ever, until now), exactly. Cancelled orders do not count.

    `new`: the first order ever is in the range. `returning`: ordered before it and in it. `lapsed`: ordered before it and not in it.
    Orders in any currency decide about the segment; `orders` and `revenue` are those in `currency` in the range.

    `rfm` scores each customer with an order in `currency` in the range from 1 to 5 (best): by the time of the last order, the number of
    orders, and revenue. Each score divides the customers into five parts whose sizes differ by at most one, the smaller scores having the
    larger parts; customers with equal values are ordered by their id. `cells` has each combination of scores that occurs, at most 125.
    """
    start, end = requested(from_, to)
    currencies = [currency] if currency else await default_currencies(request)
    summary, as_of = await request.read(request.stores.postgres("summary"))
    rows = await summary.fetch(SEGMENTS, start, end, currencies[0] if currencies else "")
    found = {row["segment"]: row for row in rows if row["segment"] is not None}
    scores = ("recency", "frequency", "monetary")
    cells = [{name: row[name] for name in scores} | _figures(row) for row in rows if row["segment"] is None]
    body: dict[str, Any] = {"currency": currencies[0] if currencies else None}
    if len(currencies) > 1:
        body["currencies"] = currencies
    body["segments"] = {name: _figures(found.get(name)) for name in NAMES}
    body["rfm"] = {"customers": sum(cell["customers"] for cell in cells), "cells": cells}
    return conditional_response(request, msgspec.json.encode(body), as_of)


def requested(from_: str | None, to: str | None) -> tuple[datetime, datetime]:
    """The range, empty where its open end would lie before its other. Raises InvalidParameterError for ends in the wrong order."""
    start, end = parse_time("from", from_) if from_ else None, parse_time("to", to) if to else None
    if start is None:
        return min(BEGINNING, end or END), end or END
    if end is None:
        return start, max(start, END)
    if start > end:
        raise InvalidParameterError("to", f"{to} lies before from")
    return start, end


def _figures(row: asyncpg.Record | None) -> dict[str, Any]:
    """The fields of ``SegmentFigures``; sums are text in the row, as they may exceed 64 bits."""
    if row is None:
        return {"customers": 0, "orders": 0, "revenue": 0, "average_order_value": None}
    orders, revenue = int(row["orders"]), int(row["revenue"])
    average = average_order_value(revenue, orders)
    return {"customers": row["customers"], "orders": orders, "revenue": revenue, "average_order_value": average}


ROUTES: Final = (segments,)
