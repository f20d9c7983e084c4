"""The layout of the analytics store in Redis: every key, and what it holds. Written by one projector, read by the query service.

With ``<p>`` the generation's prefix, ``<c>`` a currency, ``<day>`` ``YYYYMMDD``, ``<hour>`` ``YYYYMMDDHH``, ``<month>`` ``YYYYMM``
(all UTC, by ``placed_at``), and an integer being decimal text of any length:

    <p>:hour:<c>             hash   "<hour>:orders|items|revenue|cancelled" → integer
    <p>:day:<c>              hash   "<day>:orders|items|revenue|cancelled" → integer
    <p>:currencies           set    currencies seen
    <p>:first                hash   "currency" → the one that was seen first, ever: a new generation takes it over
    <p>:units:<span>         zset   product id → units;               span = a day, a month, or "all"
    <p>:sales:<c>:<span>     zset   product id → revenue, minor units; the same spans
    <p>:exact                hash   "units:<span> <product id>", "sales:<c>:<span> <product id>" → the figure itself, where it is not
                                    below 2^53 and its score is only the double nearest to it
    <p>:totalled             set    only while the generation is being built: "days", and the keys of those totals of products, by
                                    month or for "all", that are kept up by now. The others are made of the days before
                                    the generation is ready. No such set: all are kept up
    <p>:buyers:<span>        hash   customer id → orders not cancelled (absent at 0); the same spans
    <p>:days                 zset   "<day>" → the same as a number; one member for each day that has had an order
    <p>:names                hash   product id → name in the catalogue
    <p>:line-names           hash   product id → the greatest of the names that order lines gave it (by code points: the
                                    same in whatever order they came): used where the catalogue has none
    <p>:positions            hash   stream → applied version
    <p>:held                 hash   stream → the hold, as JSON, without its due_at
    <p>:due                  zset   stream → due_at of its hold, seconds since 1970
    <p>:discarded            hash   stream → versions that operators have discarded, "3 7": stepped over, or to be so
    <p>:progress             hash   "<lane>:as_of" (RFC 3339), "<lane>:events_applied"
"""

from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, Field

PREFIX: Final = "analytics"
ALL: Final = "all"
DAYS_ONLY: Final = "days"
"""What ``totalled`` has in it from the beginning: a set that is empty would not be there."""
METRICS: Final = ("orders", "items", "revenue", "cancelled")
FIRST_CURRENCY: Final = "currency"
EXACT: Final = 2**53
"""A score is a double: below this, either way of zero, it is the figure itself."""


def hour_of(time: datetime) -> str:
    """``YYYYMMDDHH``."""
    return str(_day_number(time) * 100 + time.hour).zfill(10)


def day_of(time: datetime) -> str:
    """``YYYYMMDD``."""
    return str(_day_number(time)).zfill(8)


def month_of(time: datetime) -> str:
    """``YYYYMM``."""
    return str(time.year * 100 + time.month).zfill(6)


def _day_number(time: datetime) -> int:
    """Several times as fast as ``strftime``, which also leaves the zeros out before a year below 1000."""
    return (time.year * 100 + time.month) * 100 + time.day


class Keys:
    """The keys of one generation; ``prefix`` tells generations apart."""

    def __init__(self, prefix: str = PREFIX) -> None:
        self.prefix = prefix
        self.totalled: Final = f"{prefix}:totalled"
        self.exact: Final = f"{prefix}:exact"
        self.currencies: Final = f"{prefix}:currencies"
        self.first: Final = f"{prefix}:first"
        self.days: Final = f"{prefix}:days"
        self.names: Final = f"{prefix}:names"
        self.line_names: Final = f"{prefix}:line-names"
        self.positions: Final = f"{prefix}:positions"
        self.held: Final = f"{prefix}:held"
        self.due: Final = f"{prefix}:due"
        self.discarded: Final = f"{prefix}:discarded"
        self.progress: Final = f"{prefix}:progress"

    def hours_in(self, currency: str) -> str:
        return f"{self.prefix}:hour:{currency}"

    def days_in(self, currency: str) -> str:
        return f"{self.prefix}:day:{currency}"

    def units(self, span: str) -> str:
        return f"{self.prefix}:units:{span}"

    def sales(self, currency: str, span: str) -> str:
        return f"{self.prefix}:sales:{currency}:{span}"

    def buyers(self, span: str) -> str:
        return f"{self.prefix}:buyers:{span}"

    def exact_field(self, key: str, member: str) -> str:
        """Where ``exact`` has the figure of a member of ``units`` or ``sales``."""
        return f"{key[len(self.prefix) + 1 :]} {member}"


def rounded(score: float) -> bool:
    """Whether a figure has to be read from ``exact``: its score may be another number."""
    return not -EXACT < score < EXACT


def figure(score: float, text: str | None) -> int:
    """A member's figure, from its score and its text in ``exact``; that is passed over where it is not this score's."""
    return int(text) if text is not None and float(text) == score else int(score)


class RevenueBucket(BaseModel):
    """Orders placed in the bucket and not cancelled; ``items`` are units; ``cancelled`` counts orders."""

    start: datetime
    orders: int
    items: int
    revenue: int
    cancelled: int


class RevenueTotal(BaseModel):
    orders: int
    items: int
    revenue: int
    cancelled: int


class RevenueInCurrency(BaseModel):
    buckets: list[RevenueBucket]
    total: RevenueTotal


class Revenue(RevenueInCurrency):
    """``currency`` is null only while no order has been seen and none was asked for; ``buckets`` and ``total`` are in it alone.

    ``currencies`` and ``by_currency`` are there only where no currency was asked for and there are several.
    """

    currency: str | None
    granularity: str
    currencies: Annotated[list[str], Field(description="All that orders were seen in, `currency` first.")] = []
    by_currency: Annotated[
        dict[str, RevenueInCurrency] | None,
        Field(
            description="What a question with each `currency` answers. null: too many buckets or currencies at once."
        ),
    ] = None


class TopProduct(BaseModel):
    product_id: str
    name: str | None
    units: int
    revenue: int


class TopProductsInCurrency(BaseModel):
    items: list[TopProduct]


class TopProducts(TopProductsInCurrency):
    """``currency``, ``currencies`` and ``by_currency`` are there only where no currency was asked for and there are several."""

    currency: Annotated[str, Field(description="That of `revenue` in `items`.")] = ""
    currencies: Annotated[list[str], Field(description="All that orders were seen in, `currency` first.")] = []
    by_currency: Annotated[
        dict[str, TopProductsInCurrency] | None,
        Field(description="What a question with each `currency` answers. null: too many currencies at once."),
    ] = None


class DistinctCustomers(BaseModel):
    distinct: int
