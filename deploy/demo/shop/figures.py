"""The figures by which the source and the three stores are compared.

The source and each store compute them in their own way; this module only defines them, so that they can be compared as
values. Money is in cents, days are in UTC. A figure that a store does not have is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

BEST_DAYS: Final = 5
TOP_PRODUCTS: Final = 10
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
    distinct_customers: int | None = None
    hits: Mapping[str, int] = field(default_factory=dict)
    """Word → number of products found."""


FIGURE_NAMES: Final[Mapping[str, str]] = {
    "orders": "orders",
    "items": "items",
    "revenue": "revenue",
    "best_days": f"revenue of the best {BEST_DAYS} days",
    "top_by_units": f"top {TOP_PRODUCTS} products by units",
    "top_by_revenue": f"top {TOP_PRODUCTS} products by revenue",
    "distinct_customers": "distinct customers",
}
"""Field → its name in the report, for the fields that are one line of it each; each word's hits are a line, too."""
