"""What the contract suite must know of the inside of the journal."""

from projectors.stores.port import Store
from tests.contract.clickhouse.database import Database
from tests.contract.clickhouse.store import ClickHouseStore
from tests.contract.read_stores import ReadStore

ORDERS = """
SELECT toString(sum(sign)) AS placed, toString(countIf(sign < 0)) AS cancelled FROM journal FINAL WHERE kind = 'order'
"""
PROGRESS = """
SELECT place AS lane, max(as_of) AS as_of, toString(sum(items)) AS events FROM journal FINAL
WHERE kind = 'progress' GROUP BY place ORDER BY place
"""


class ClickHouseReadStore(ReadStore):
    def connect(self, url: str | None = None) -> Store:
        return ClickHouseStore(url or self.url)

    async def orders(self) -> tuple[int, int]:
        (row,) = await Database(self.url).read(ORDERS)
        return int(row["placed"]), int(row["cancelled"])

    async def progress(self) -> dict[int, tuple[str | None, int]]:
        rows = await Database(self.url).read(PROGRESS)
        return {
            row["lane"]: (row["as_of"] and row["as_of"].replace(" ", "T") + "+00:00", int(row["events"]))
            for row in rows
        }

    async def clear(self) -> None:
        database = Database(self.url)
        await database.drop()
        await database.create()
