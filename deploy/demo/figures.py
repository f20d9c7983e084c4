"""The figures by which the source and the three stores are held against each other.

Everybody computes them in their own way; here stands only what they are, so that comparing is comparing values. Money
is in cents, days are UTC. A store without such a figure has None there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

BEST_DAYS: Final = 5
TOP_PRODUCTS: Final = 10
WORDS: Final = ("milk", "cheese", "bananas", "yogurt", "bread", "coffee")
"""Words that shoppers look for; every product whose name, category or brand has the word as a whole word is a hit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    orders: int | None = None
    items: int | None = None
    """Units, summed over all lines."""
    revenue: int | None = None
    best_days: tuple[tuple[date, int], ...] | None = None
    """The days of most revenue, the best first; of equals the earlier."""
    top_by_units: tuple[tuple[str, int], ...] | None = None
    """Product ids and units, the most first; of equals the id that is less as text."""
    top_by_revenue: tuple[tuple[str, int], ...] | None = None
    distinct_customers: int | None = None
    hits: Mapping[str, int] = field(default_factory=dict)
    """How many products are found for a word."""


LINES: Final[Mapping[str, str]] = {
    "orders": "orders",
    "items": "items",
    "revenue": "revenue",
    "best_days": f"revenue of the best {BEST_DAYS} days",
    "top_by_units": f"top {TOP_PRODUCTS} products by units",
    "top_by_revenue": f"top {TOP_PRODUCTS} products by revenue",
    "distinct_customers": "distinct customers",
}
"""The fields that are one line of the report each, and what the line is called; a word's hits are a line of their
own.
"""
