"""The monthly sales report: its rows and total, as JSON or CSV. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from query_service.analytics.csv_table import Cell, csv_table
from shared.views.analytics import ReportTotal, average_order_value


class By(StrEnum):
    REGION = "region"
    CATEGORY = "category"
    SEGMENT = "segment"


COLUMNS: Final = ("row", "key", "currency", *ReportTotal.model_fields)
"""Of the CSV form. ``row``: what the line is about, or ``total`` in the last line."""
TOTAL: Final = "total"

Figures = Mapping[str, int | None]


def figures(orders: int, items: int, revenue: int, customers: int) -> Figures:
    """The fields of ``ReportTotal``."""
    return {
        "orders": orders,
        "items": items,
        "revenue": revenue,
        "average_order_value": average_order_value(revenue, orders),
        "customers": customers,
    }


def report(
    month: str, by: By, currencies: list[str], rows: Iterable[tuple[str | None, Figures]], total: Figures
) -> dict[str, Any]:
    """``SalesReport``. ``currencies``: that of the report first. Rows without orders, items and revenue are left out."""
    shown = [{"key": key, **each} for key, each in rows if each["orders"] or each["items"] or each["revenue"]]
    shown.sort(key=lambda row: (-(row["revenue"] or 0), row["key"] or ""))  # type: ignore[operator]
    body: dict[str, Any] = {"month": month, "by": by.value, "currency": currencies[0] if currencies else None}
    if len(currencies) > 1:
        body["currencies"] = currencies
    return body | {"rows": shown, "total": dict(total)}


def as_json(found: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(found)


def as_csv(found: Mapping[str, Any]) -> bytes:
    def line(row: str, key: str | None, values: Mapping[str, Any]) -> list[Cell]:
        return [row, key, found["currency"], *(values[name] for name in ReportTotal.model_fields)]

    lines = [line(found["by"], row["key"], row) for row in found["rows"]]
    return csv_table(COLUMNS, [*lines, line(TOTAL, None, found["total"])])
