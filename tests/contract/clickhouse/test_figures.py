"""The same figures from the same real orders, in ClickHouse and in Redis, each compared with the events by verify, cell by cell."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

import pytest

pytest.importorskip("chdb", reason="ClickHouse in this process is an extra: `make test-clickhouse`")

from redis.asyncio import Redis

from deploy.demo.shop.source import CURRENCY, RetailYear
from deploy.servers.provide import Servers
from deploy.verify.analytics import AnalyticsModel
from deploy.verify.figure_check import FigureCheck
from deploy.verify.figures import Figures
from deploy.verify.spill import open_spill
from projectors.models.analytics.projection import fold
from projectors.models.analytics.store import AnalyticsStore
from projectors.stores.port import Advance, Commit, Store
from shared.contracts.catalog import ProductCreated
from shared.contracts.orders import Line, OrderPlaced
from tests import shop
from tests.contract.clickhouse.database import Database
from tests.contract.clickhouse.figures import ClickHouseModel
from tests.contract.clickhouse.read_store import ClickHouseReadStore
from tests.contract.clickhouse.store import ClickHouseStore

BASKETS, EVERY = 15_000, 5
"""Of so many, which are from more than a month, every fifth."""
BATCH = 500
GENERATION = 977
"""Of analytics in the tests' Redis."""


def real_advances() -> Iterator[Advance]:
    """A year's first baskets, with the regions and categories that orders record; refused ones left out, every tenth cancelled."""
    year = RetailYear(BASKETS)
    regions, categories = {}, {}
    for message in year.customers():
        data = json.loads(message.body)["data"]
        regions[data["customer_id"]] = data["region"]
    for message in year.products():
        data = json.loads(message.body)["data"]
        categories[data["product_id"]] = data["category"]
        product = shop.created(data["product_id"], name=data["name"], price=data["price"])
        yield shop.run(f"products/{data['product_id']}", product)
    for number, message in enumerate(year.baskets()):
        data = json.loads(message.body)["data"]
        if number % EVERY or any(line["quantity"] <= 0 for line in data["lines"]):
            continue
        lines = [Line(**line, category=categories[line["product_id"]]) for line in data["lines"]]
        order = shop.placed(
            data["order_id"],
            customer_id=data["customer_id"],
            currency=CURRENCY,
            lines=lines,
            at=datetime.fromisoformat(data["placed_at"]),
            region=regions[data["customer_id"]],
        )
        facts = [order, shop.cancelled(order)] if number % (10 * EVERY) == 0 else [order]
        yield shop.run(f"orders/{data['order_id']}", *facts)


async def apply(store: Store, advances: Sequence[Advance]) -> None:
    for start in range(0, len(advances), BATCH):
        await store.commit(Commit(advances[start : start + BATCH]))


async def differences(model: AnalyticsModel, advances: Sequence[Advance]) -> tuple[int, int]:
    """How many cells verify expects, and in how many the store's content is not what it expects."""
    with open_spill() as spill:
        figures = Figures(spill, model.layout)
        figures.record(fold(advances))
        check = FigureCheck(model, figures, None, None, shop.NOON)  # type: ignore[arg-type]  # nothing moves
        await check.compare()
        return spill.database.execute("SELECT count(*) FROM cells").fetchone()[0], figures.doubtful_count()


@pytest.mark.timeout(240)
async def test_verify_finds_the_same_figures_in_clickhouse_and_in_redis(
    read_store: ClickHouseReadStore, servers: Servers
) -> None:
    advances = list(real_advances())
    assert sum(isinstance(event.data, OrderPlaced) for each in advances for event in each.events) > 2_800
    assert sum(isinstance(event.data, ProductCreated) for each in advances for event in each.events) > 5_000
    redis = Redis.from_url(servers.stores["analytics"], decode_responses=True)
    in_redis, in_clickhouse = AnalyticsModel(redis, GENERATION), ClickHouseModel(read_store.url)
    store = AnalyticsStore(servers.stores["analytics"], in_redis.layout.prefix)
    try:
        await apply(store, advances)
        await apply(ClickHouseStore(read_store.url), advances)
        found = [await differences(model, advances) for model in (in_redis, in_clickhouse)]
        assert found[0] == found[1]
        assert found[0][0] > 100_000
        assert found[0][1] == 0
        # It would see a single wrong cell of each kind.
        await Database(read_store.url).insert(
            [{"kind": "line", "stream": advances[-1].stream, "version": 1, "place": 0, "at": 2**63, "sign": 1}]
        )
        assert (await differences(in_clickhouse, advances))[1] >= 3
    finally:
        async for key in redis.scan_iter(f"{in_redis.layout.prefix}:*", count=1000):
            await redis.unlink(key)
        await store.close()
        await redis.aclose()
