"""The layout of the analytics store in Redis: every key and its content. Written by one projector, read by the query service.

With ``<p>`` the generation's prefix, ``<c>`` a currency, ``<day>`` ``YYYYMMDD``, ``<hour>`` ``YYYYMMDDHH``, ``<month>`` ``YYYYMM``
(all UTC, by ``placed_at``). An integer is decimal text of any length:

    <p>:hour:<c>             hash   "<hour>:orders|items|revenue|cancelled" → integer
    <p>:day:<c>              hash   "<day>:orders|items|revenue|cancelled" → integer
    <p>:currencies           set    currencies seen
    <p>:first                hash   "currency" → the first currency ever seen; a new generation copies it
    <p>:units:<span>         zset   product id → units;               span = a day, a month, or "all"
    <p>:sales:<c>:<span>     zset   product id → revenue, minor units; the same spans
    <p>:exact                hash   "units:<span> <product id>", "sales:<c>:<span> <product id>" → the exact figure, where it is not
                                    below 2^53 and its score is only the nearest double
    <p>:totalled             set    only while the generation is being built: "days", and the keys of those product totals (by month
                                    or for "all") that are maintained already. The others are computed from the days before the
                                    generation is ready. Without this set all totals are maintained
    <p>:buyers:<span>        hash   customer id → orders not cancelled (absent at 0); the same spans
    <p>:by-<d>:<c>:<span>    hash   "<metric>:<value>" → integer (absent at 0), for each region or category with sales; <d> is region or
                                    category, span a day or a month. An order counts once in each category of its lines, with their
                                    items and revenue. The value "" stands for sales whose region or category was unknown
    <p>:<d>-buyers:<c>:<month>   hash   "<customer id> <value>" → orders not cancelled (absent at 0); an id has no space
    <p>:counted              hash   "sales" → events applied by code that keeps the two above: they are complete if these are all events
    <p>:days                 zset   "<day>" → the same as a number; one member for each day that has had an order
    <p>:names                hash   product id → name in the catalogue
    <p>:line-names           hash   product id → the greatest name (by code points, so independent of arrival order) that order
                                    lines gave it: used where the catalogue has none
    <p>:positions            hash   stream → applied version
    <p>:held                 hash   stream → the hold, as JSON, without its due_at
    <p>:due                  zset   stream → due_at of its hold, seconds since 1970
    <p>:discarded            hash   stream → versions that operators have discarded, "3 7": skipped, or to be skipped
    <p>:progress             hash   "<lane>:as_of" (RFC 3339), "<lane>:events_applied"
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, Field

PREFIX: Final = "analytics"
ALL: Final = "all"
DAYS_ONLY: Final = "days"
"""The initial member of ``totalled``: Redis has no empty sets."""
METRICS: Final = ("orders", "items", "revenue", "cancelled")
FIRST_CURRENCY: Final = "currency"
SALES: Final = "sales"
"""The field of ``counted``."""
EXACT: Final = 2**53
"""A score is a double: absolute values below this are exact."""


class Dimension(StrEnum):
    """What sales are counted by, beside time and product: facts that an order recorded when it was placed."""

    REGION = "region"
    CATEGORY = "category"


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
    """Several times as fast as ``strftime``, which also omits leading zeros of years below 1000."""
    return (time.year * 100 + time.month) * 100 + time.day


class Keys:
    """The keys of one generation, distinguished by ``prefix``."""

    def __init__(self, prefix: str = PREFIX) -> None:
        self.prefix = prefix
        self.totalled: Final = f"{prefix}:totalled"
        self.exact: Final = f"{prefix}:exact"
        self.currencies: Final = f"{prefix}:currencies"
        self.first: Final = f"{prefix}:first"
        self.days: Final = f"{prefix}:days"
        self.counted: Final = f"{prefix}:counted"
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

    def sales_by(self, dimension: Dimension, currency: str, span: str) -> str:
        return f"{self.prefix}:by-{dimension}:{currency}:{span}"

    def buyers_by(self, dimension: Dimension, currency: str, month: str) -> str:
        return f"{self.prefix}:{dimension}-buyers:{currency}:{month}"

    def is_sales_by(self, key: str) -> bool:
        """Whether it is a key of ``sales_by`` or ``buyers_by``."""
        kinds = tuple(f"{self.prefix}:{kind}:" for each in Dimension for kind in (f"by-{each}", f"{each}-buyers"))
        return key.startswith(kinds)

    def exact_field(self, key: str, member: str) -> str:
        """The field of ``exact`` that holds the figure of a member of ``units`` or ``sales``."""
        return f"{key[len(self.prefix) + 1 :]} {member}"


def events_applied(progress: Mapping[str, str]) -> int:
    """The number of events that a generation has applied, given its ``progress``."""
    return sum(int(count) for name, count in progress.items() if name.endswith(":events_applied"))


def sales_are_complete(counted: str | None, progress: Mapping[str, str]) -> bool:
    """Whether the figures by region and category include every event of the generation, given ``counted`` and ``progress``.

    They do not if code that did not keep them has applied any: before, after, or beside code that does.
    """
    return int(counted or 0) == events_applied(progress)


SALES_INCOMPLETE: Final = (
    "the active generation of analytics was begun by code that did not count sales by region and category: run"
    " tidemark projections rebuild analytics, then tidemark projections activate analytics"
)


def is_inexact(score: float) -> bool:
    """Whether the score may be inexact, so that the figure has to be read from ``exact``."""
    return not -EXACT < score < EXACT


def exact_figure(score: float, text: str | None) -> int:
    """A member's exact figure from its score and its text in ``exact``; a text that does not belong to this score is ignored."""
    return int(text) if text is not None and float(text) == score else int(score)


def average_order_value(revenue: int, orders: int) -> int | None:
    """Revenue divided by orders in minor units, rounded to the nearest, halves up; exact for integers of any size. None without orders."""
    return (2 * revenue + orders) // (2 * orders) if orders > 0 else None


AverageOrderValue = Annotated[
    int | None,
    Field(
        description="`revenue` divided by `orders`, rounded to the nearest minor unit, halves up; null without orders."
    ),
]


class RevenueTotal(BaseModel):
    """Orders placed and not cancelled; ``items`` are units; ``cancelled`` counts orders."""

    orders: int
    items: int
    revenue: int
    cancelled: int


class RevenueBucket(RevenueTotal):
    start: datetime


class RevenueInCurrency(BaseModel):
    buckets: list[RevenueBucket]
    total: RevenueTotal
    average_order_value: AverageOrderValue


class Revenue(RevenueInCurrency):
    """``currency`` is null only while no order has been seen and none was requested; ``buckets`` and ``total`` are in it alone.

    ``currencies`` and ``by_currency`` are present only where no currency was requested and there are several.
    """

    currency: str | None
    granularity: str
    currencies: Annotated[list[str], Field(description="All currencies of orders, `currency` first.")] = []
    by_currency: Annotated[
        dict[str, RevenueInCurrency] | None,
        Field(description="The result for each `currency`. null: too many buckets or currencies at once."),
    ] = None


class TopProduct(BaseModel):
    product_id: str
    name: str | None
    units: int
    revenue: int


class TopProductsInCurrency(BaseModel):
    items: list[TopProduct]


class TopProducts(TopProductsInCurrency):
    """``currency``, ``currencies`` and ``by_currency`` are present only where no currency was requested and there are several."""

    currency: Annotated[str, Field(description="That of `revenue` in `items`.")] = ""
    currencies: Annotated[list[str], Field(description="All currencies of orders, `currency` first.")] = []
    by_currency: Annotated[
        dict[str, TopProductsInCurrency] | None,
        Field(description="The result for each `currency`. null: too many currencies at once."),
    ] = None


class CategorySales(RevenueTotal):
    """An order counts once in each category of its lines, with the items and the revenue of these lines."""

    average_order_value: AverageOrderValue
    category: Annotated[
        str | None, Field(description="The product's category when it was sold; null if it was unknown.")
    ]


class TopCategoriesInCurrency(BaseModel):
    items: list[CategorySales]


class TopCategories(TopCategoriesInCurrency):
    """``currency`` is null only while no order has been seen and none was requested; ``items`` are in it alone.

    ``currencies`` and ``by_currency`` are present only where no currency was requested and there are several.
    """

    currency: str | None
    currencies: Annotated[list[str], Field(description="All currencies of orders, `currency` first.")] = []
    by_currency: Annotated[
        dict[str, TopCategoriesInCurrency] | None,
        Field(description="The result for each `currency`. null: too many currencies at once."),
    ] = None


class ReportTotal(BaseModel):
    """Orders placed in the month and not cancelled, in the report's currency."""

    orders: int
    items: int
    revenue: int
    average_order_value: AverageOrderValue
    customers: Annotated[int, Field(description="Different customers with such orders.")]


class ReportRow(ReportTotal):
    key: Annotated[
        str | None,
        Field(description="The region, category or segment; null: sales whose region or category was unknown."),
    ]


class SalesReport(BaseModel):
    """``rows`` by falling revenue, then by ``key``. ``total`` counts each order and customer once, so it may be less than the rows' sum."""

    month: str
    by: str
    currency: Annotated[str | None, Field(description="null only while no order has been seen and none was requested.")]
    currencies: Annotated[
        list[str],
        Field(description="All currencies of orders, `currency` first, if there are several and none was requested."),
    ] = []
    rows: list[ReportRow]
    total: ReportTotal


class SegmentFigures(BaseModel):
    """Customers, and their orders in the range that were not cancelled, in one currency."""

    customers: int
    orders: int
    revenue: int
    average_order_value: AverageOrderValue


class RfmCell(SegmentFigures):
    """Scores from 1 to 5, 5 being the latest, the most frequent, the highest revenue."""

    recency: int
    frequency: int
    monetary: int


class Rfm(BaseModel):
    customers: int
    cells: Annotated[
        list[RfmCell],
        Field(description="By recency, frequency, monetary; combinations that do not occur are left out."),
    ]


class Segments(BaseModel):
    """``segments``: by `new`, `returning`, `lapsed`."""

    currency: Annotated[str | None, Field(description="null only while no order has been seen and none was requested.")]
    currencies: Annotated[
        list[str],
        Field(description="All currencies of orders, `currency` first, if there are several and none was requested."),
    ] = []
    segments: dict[str, SegmentFigures]
    rfm: Rfm


class DistinctCustomers(BaseModel):
    distinct: int
