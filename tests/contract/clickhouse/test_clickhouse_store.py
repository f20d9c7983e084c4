"""The journal in ClickHouse passes the contract suite of read stores, as it is."""

import pytest

pytest.importorskip("chdb", reason="ClickHouse in this process is an extra: `make test-clickhouse`")

from projectors.stores.port import Commit, Store, StoreUnavailableError
from tests import shop
from tests.contract import test_store as contract
from tests.contract.clickhouse.database import Database
from tests.contract.read_stores import ReadStore

OVER_A_CONNECTION = {
    # It is in this process: there is no connection to be lost. test_crashes.py kills the process instead.
    "test_a_server_that_is_not_there_is_an_outage",
    "test_a_connection_lost_during_a_commit_is_an_outage_and_the_commit_can_be_repeated",
}
AGAIN = """
INSERT INTO journal SELECT * REPLACE (at + 1 AS at) FROM journal WHERE kind IN ('order', 'line', 'moved')
"""
globals().update(
    {name: test for name, test in vars(contract).items() if name.startswith("test_") and name not in OVER_A_CONNECTION}
)


def test_all_but_two_tests_of_the_suite_are_here() -> None:
    names = {name for name in vars(contract) if name.startswith("test_")}
    assert names > OVER_A_CONNECTION
    assert names - OVER_A_CONNECTION <= globals().keys()


async def test_a_generation_that_is_gone_is_an_outage(store: Store, read_store: ReadStore) -> None:
    await Database(read_store.url).drop()
    with pytest.raises(StoreUnavailableError):
        await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))


async def test_what_is_written_twice_counts_once(store: Store, read_store: ReadStore) -> None:
    """As by a second writer on another machine, which has read the same positions."""
    database = Database(read_store.url)
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    await database.read(AGAIN)
    (row,) = await database.read("SELECT toString(count()) AS rows, toString(uniqExact(at)) AS commits FROM journal")
    assert (int(row["rows"]), int(row["commits"])) == (9, 2)  # the hold that the first has removed was not copied
    assert await read_store.orders() == (1, 0)
    await store.commit(Commit([shop.run("orders/o-1", shop.cancelled(shop.placed()), expected=1)]))
    assert await read_store.orders() == (0, 1)
