"""The journal's figures as verify sees those of Redis: cell by cell, each the answer of a query."""

from collections.abc import AsyncIterator
from typing import Any, Final

from deploy.verify.analytics import AnalyticsModel
from deploy.verify.figures import Value, storable
from shared.views.analytics import Dimension, Keys
from tests.contract.clickhouse.database import Database

_ORDERS: Final = "(SELECT * FROM journal FINAL WHERE kind = 'order')"
_LINES: Final = "(SELECT * FROM journal FINAL WHERE kind = 'line')"
_DAY: Final = "formatDateTime(placed_at, '%Y%m%d')"
_MONTH: Final = "formatDateTime(placed_at, '%Y%m')"
_METRICS: Final = """
arrayJoin([('orders', sum(toInt256(sign))), ('items', sum(toInt256(sign) * items)), ('revenue', sum(toInt256(sign) * revenue)),
    ('cancelled', toInt256(countIf(sign < 0)))]) AS metric
"""
BUCKETS: Final = f"""
SELECT span, currency, concat(time, ':', metric.1) AS member, toString(metric.2) AS sum FROM (
    SELECT span, currency, time, {_METRICS} FROM {_ORDERS}
    ARRAY JOIN ['hour', 'day'] AS span, [formatDateTime(placed_at, '%Y%m%d%H'), {_DAY}] AS time GROUP BY span, currency, time
)
"""  # noqa: S608 - constants of this module
PRODUCTS: Final = f"""
SELECT span, product_id AS member, currency, toString(sum(toInt256(sign) * items)) AS units,
    toString(sum(toInt256(sign) * revenue)) AS sales
FROM {_LINES} ARRAY JOIN [{_DAY}, {_MONTH}, 'all'] AS span GROUP BY span, member, currency
"""  # noqa: S608
BUYERS: Final = f"""
SELECT span, customer_id AS member, toString(sum(sign)) AS sum
FROM {_ORDERS} ARRAY JOIN [{_DAY}, {_MONTH}, 'all'] AS span GROUP BY span, member HAVING sum(sign) <> 0
"""  # noqa: S608
# An order counts once in each category of its lines.
_BY: Final = {
    Dimension.REGION: _ORDERS,
    Dimension.CATEGORY: f"""(
        SELECT currency, placed_at, customer_id, value, sign, sum(items) AS items, sum(revenue) AS revenue
        FROM {_LINES} GROUP BY stream, version, currency, placed_at, customer_id, value, sign
    )""",  # noqa: S608
}
_SALES_BY: Final = """
SELECT span, currency, concat(metric.1, ':', value) AS member, toString(metric.2) AS sum FROM (
    SELECT span, currency, value, {metrics} FROM {source} ARRAY JOIN [{day}, {month}] AS span GROUP BY span, currency, value
) WHERE metric.2 <> 0
"""
_BUYERS_BY: Final = """
SELECT {month} AS span, currency, concat(customer_id, ' ', value) AS member, toString(sum(sign)) AS sum
FROM {source} GROUP BY span, currency, member HAVING sum(sign) <> 0
"""
NAMES: Final = (
    "SELECT product_id AS member, argMax(name, version) AS latest FROM journal FINAL WHERE kind = 'name' GROUP BY 1"
)
LINE_NAMES: Final = f"SELECT product_id AS member, max(name) AS latest FROM {_LINES} WHERE name <> '' GROUP BY 1"  # noqa: S608
SEEN: Final = f"SELECT DISTINCT currency, {_DAY} AS day FROM {_ORDERS}"  # noqa: S608

Cells = dict[str, dict[str, Value]]


async def figures_in(database: Database, layout: Keys) -> Cells:
    """Every key of the layout, with its members and their values."""
    cells: Cells = {}

    def add(key: str, member: str, value: Value) -> None:
        cells.setdefault(key, {})[member] = value

    for row in await database.read(BUCKETS):
        key_of = layout.hours_in if row["span"] == "hour" else layout.days_in
        add(key_of(row["currency"]), row["member"], _number(row["sum"]))
    units: dict[tuple[str, str], int] = {}
    for row in await database.read(PRODUCTS):
        place = layout.units(row["span"]), row["member"]
        units[place] = units.get(place, 0) + int(row["units"])
        if int(row["sales"]):
            add(layout.sales(row["currency"], row["span"]), row["member"], _number(row["sales"]))
    for (key, member), count in units.items():
        if count:
            add(key, member, storable(count))
    for row in await database.read(BUYERS):
        add(layout.buyers(row["span"]), row["member"], _number(row["sum"]))
    for dimension, source in _BY.items():
        for row in await database.read(_SALES_BY.format(metrics=_METRICS, source=source, day=_DAY, month=_MONTH)):
            add(layout.sales_by(dimension, row["currency"], row["span"]), row["member"], _number(row["sum"]))
        for row in await database.read(_BUYERS_BY.format(source=source, month=_MONTH)):
            add(layout.buyers_by(dimension, row["currency"], row["span"]), row["member"], _number(row["sum"]))
    for key, statement in ((layout.names, NAMES), (layout.line_names, LINE_NAMES)):
        for row in await database.read(statement):
            add(key, row["member"], row["latest"])
    for row in await database.read(SEEN):
        add(layout.currencies, row["currency"], 1)
        add(layout.days, row["day"], int(row["day"]))
    return cells


def _number(text: str) -> Value:
    return storable(int(text))


class ClickHouseModel(AnalyticsModel):
    """Verify's view of the journal, in place of that of Redis."""

    def __init__(self, url: str) -> None:
        super().__init__(None, 1)
        self._database = Database(url)
        self._cells: Cells = {}

    async def sales_complete(self) -> bool:
        return True

    async def keys(self) -> AsyncIterator[list[tuple[str, str]]]:
        self._cells = await figures_in(self._database, self.layout)
        yield [(key, self.type_of(key)) for key in self._cells]

    async def scan(self, key: str, kind: str) -> AsyncIterator[list[tuple[str, Any]]]:
        yield list(self._cells[key].items())
