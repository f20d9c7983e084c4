"""The figures by which the source and the three stores are compared.

The source and each store compute them in their own way; this module only defines them, so that they can be compared as
values. Money is in cents, days are in UTC. A figure that a store does not have is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

BEST_DAYS: Final = 5
TOP_PRODUCTS: Final = 10
REPORT_ROWS: Final = 5
SEARCH_WORDS: Final = ("milk", "cheese", "bananas", "yogurt", "bread", "coffee")
"""Search words; every product whose name, category or brand contains the whole word is a hit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    orders: int | None = None
    items: int | None = None
    """Units, summed over all lines."""
    revenue: int | None = None
    best_days: tuple[tuple[date, int], ...] | None = None
    """The days with the highest revenue, in descending order; ties by the earlier day."""
    top_by_units: tuple[tuple[str, int], ...] | None = None
    """Product ids and units, in descending order; ties by product id as text."""
    top_by_revenue: tuple[tuple[str, int], ...] | None = None
    bought_together: tuple[tuple[str, int], ...] | None = None
    """The products that most orders have together with the best-selling one (by units), two orders at least; ties by product id as text."""
    distinct_customers: int | None = None
    best_weeks: tuple[tuple[date, int], ...] | None = None
    """The weeks with the highest revenue, by their Mondays."""
    months: tuple[tuple[date, int], ...] | None = None
    """Every month's revenue, by its first day."""
    by_region: tuple[tuple[str, int], ...] | None = None
    """The regions with the highest revenue in the last month, in descending order; ties by region."""
    by_category: tuple[tuple[str, int], ...] | None = None
    buyers_by_region: tuple[tuple[str, int], ...] | None = None
    """The number of customers of the same regions in the last month, in the same order."""
    by_segment: tuple[tuple[str, int], ...] | None = None
    """The last month's revenue from new customers and from returning ones, where there are any."""
    segments: tuple[tuple[str, int], ...] | None = None
    """The number of customers who are new, returning and lapsed, in the days from ``middle`` on."""
    hits: Mapping[str, int] = field(default_factory=dict)
    """Word → number of products found."""


FIGURE_NAMES: Final[Mapping[str, str]] = {
    "orders": "orders",
    "items": "items",
    "revenue": "revenue",
    "best_days": f"revenue of the best {BEST_DAYS} days",
    "top_by_units": f"top {TOP_PRODUCTS} products by units",
    "top_by_revenue": f"top {TOP_PRODUCTS} products by revenue",
    "bought_together": f"bought with the best-selling product, top {REPORT_ROWS}",
    "distinct_customers": "distinct customers",
    "best_weeks": f"revenue of the best {BEST_DAYS} weeks",
    "months": "revenue by month",
    "by_region": f"report by region: revenue, top {REPORT_ROWS}",
    "buyers_by_region": "report by region: customers",
    "by_category": f"report by category: revenue, top {REPORT_ROWS}",
    "by_segment": "report by segment: revenue",
    "segments": "customers by segment",
}
"""Field → its name in the report, for the fields that are one line of it each; each word's hits are a line, too."""


def middle(first: date, last: date) -> date:
    """The day that divides the days with orders into a first and a second half."""
    return first + (last - first + timedelta(days=1)) // 2
