"""PostgreSQL in every kind of trouble, for the write side and the projections alike: an outage or a lost race, never poison."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest

from deploy.servers.accounts import databases
from deploy.servers.accounts.urls import ROLES
from tests.faults.audit import caught_up, differences, figures
from tests.faults.cluster import Cluster
from tests.faults.load import Load, demo_commands, demo_size, loading, order_lifecycles
from tests.faults.outage_monitor import OutageMonitor, monitoring_outage
from tests.faults.small_disk import tables_on_a_small_disk
from tests.faults.waiting import fetch, until

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ORDERS = 500
LIVES = 300
MANY_LIVES = 2000
SUMMARY = databases.READ
HOG = "hog"

TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY ($1::text[]) AND application_name <> $2"
)
BLOCKED_BY = "SELECT count(*) AS count FROM pg_locks WHERE NOT granted AND $1::int = ANY (pg_blocking_pids(pid))"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = $1"
WRITTEN_STREAMS = "SELECT stream FROM streams ORDER BY stream DESC FOR UPDATE"
ONE_WRITTEN = "SELECT stream FROM streams WHERE stream = $1 FOR UPDATE"
APPLIED_STREAMS = "SELECT stream FROM summary.positions ORDER BY stream DESC FOR UPDATE"
ONE_APPLIED = "SELECT stream FROM summary.positions WHERE stream = $1 FOR UPDATE"
# Lives go on in the order of their numbers, all by one step and then all by the next: this one's turn comes soon.
SOON_WRITTEN = """
SELECT stream FROM streams WHERE version = (SELECT min(version) FROM streams)
ORDER BY split_part(stream, '-', 2)::int OFFSET 30 LIMIT 1
"""
SOON_APPLIED = """
SELECT stream FROM summary.positions WHERE applied = (SELECT min(applied) FROM summary.positions)
ORDER BY split_part(stream, '-', 2)::int OFFSET 30 LIMIT 1
"""


async def settled(cluster: Cluster, load: Load) -> None:
    await load.finished()
    await caught_up(cluster, load)


@asynccontextmanager
async def monitored_load(cluster: Cluster) -> AsyncIterator[Load]:
    """The load; at its end nothing has counted against any event, and everything is equal to the source."""
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        async with monitoring_outage(cluster) as monitor:
            yield load
            await settled(cluster, load)
        await nothing_but_an_outage(cluster, load, monitor)
        assert await figures(cluster, load, ORDERS) == []


async def nothing_but_an_outage(cluster: Cluster, load: Load, monitor: OutageMonitor) -> None:
    assert monitor.seen == {}
    assert await differences(cluster, load) == {}


async def test_immediate_stops_are_recovered_from(cluster: Cluster) -> None:
    """As ``pg_ctl stop -m immediate``: no checkpoint, no goodbye."""
    postgres = cluster.private.postgres
    async with monitored_load(cluster) as load:
        for share in (0.1, 0.4, 0.7):
            await load.reaches(share + cluster.random.uniform(0, 0.2))
            await asyncio.to_thread(postgres.stop, discard_data=True)
            await cluster.pause(0, 2)
            await asyncio.to_thread(postgres.start)
            await asyncio.to_thread(postgres.wait_ready)


async def test_a_server_without_a_free_connection_is_waited_for(cluster: Cluster) -> None:
    """Everybody has lost his connection, and somebody else has taken them all."""
    hogs: list[asyncpg.Connection] = []
    admin = await asyncpg.connect(cluster.private.postgres.admin_url())

    async def told_by(name: str) -> str:
        await admin.fetch(TERMINATE, list(ROLES), HOG)
        await _take_all(cluster, hogs)
        return str(await cluster.troubles(name))

    await _take_all(cluster, hogs)
    async with monitored_load(cluster) as load:
        await load.reaches(0.1)
        try:
            for name in ("worker", "relay", "summary"):
                await until(lambda name=name: told_by(name), lambda said: "connection slots" in said)  # type: ignore[misc]
            await cluster.pause(1, 3)
        finally:
            for connection in (*hogs, admin):
                connection.terminate()


async def _take_all(cluster: Cluster, hogs: list[asyncpg.Connection]) -> None:
    """Connect until there is no connection left."""
    settings = {"application_name": HOG}
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            hogs.append(await asyncpg.connect(cluster.servers.operations_db_url, server_settings=settings, timeout=5))


async def test_a_full_disk_is_waited_for(cluster: Cluster) -> None:
    tables = {databases.WRITE: ["events"], SUMMARY: ["summary.orders", "summary.history"]}
    async with tables_on_a_small_disk(cluster, tables) as disk, monitored_load(cluster) as load:
        await load.reaches(0.1)
        await asyncio.to_thread(disk.fill)
        said = await until(lambda: cluster.troubles("worker"), lambda said: "database" in said)
        assert "space" in said["database"]
        before = len(load.outcomes)
        await cluster.pause(2, 4)
        assert len(load.outcomes) == before < load.total
        await asyncio.to_thread(disk.free)


async def test_deadlocks_are_lost_races_and_nothing_more(cluster: Cluster) -> None:
    """A session that locks rows in the opposite order, and never is the one that gives way."""
    async with loading(cluster, order_lifecycles(MANY_LIVES), 4 * MANY_LIVES, window=20) as load:
        async with monitoring_outage(cluster) as monitor:
            await load.reaches(0.26)
            async with asyncio.timeout(90):
                await asyncio.gather(
                    _opposed(cluster, databases.WRITE, SOON_WRITTEN, ONE_WRITTEN, WRITTEN_STREAMS),
                    _opposed(cluster, SUMMARY, SOON_APPLIED, ONE_APPLIED, APPLIED_STREAMS),
                )
            assert not load.sending.done()
            await settled(cluster, load)
        await nothing_but_an_outage(cluster, load, monitor)


async def _opposed(cluster: Cluster, database: str, soon: str, one: str, all_of_them: str, wanted: int = 2) -> None:
    """Return when so many transactions of others have been given up for it."""
    admin = cluster.private.postgres.admin_url(database)
    connection = await asyncpg.connect(admin, server_settings={"deadlock_timeout": "1h", "application_name": "opposed"})
    try:
        pid = connection.get_server_pid()
        before = await connection.fetchval(DEADLOCKS, database)
        found = 0
        while found < wanted:
            stream = await connection.fetchval(soon)
            async with connection.transaction():
                await connection.fetch(one, stream)
                try:
                    await until(lambda: fetch(admin, BLOCKED_BY, pid), lambda rows: rows[0]["count"] > 0, within_s=3.0)
                except AssertionError:
                    continue
                await connection.fetch(all_of_them, timeout=20)
            [row] = await fetch(admin, DEADLOCKS, database)
            found = row["deadlocks"] - before
    finally:
        connection.terminate()


async def test_a_transaction_that_somebody_left_open_is_outlived(cluster: Cluster) -> None:
    """It has written, and keeps a stream that commands are waiting for; the server ends it after a while (60 s by our settings)."""
    settings = {"idle_in_transaction_session_timeout": "15s"}
    somebody = await asyncpg.connect(cluster.servers.write_db_url, server_settings=settings)
    async with loading(cluster, order_lifecycles(LIVES), 4 * LIVES, window=100) as load:
        async with monitoring_outage(cluster) as monitor:
            await load.reaches(0.3)
            left_open = somebody.transaction()
            await left_open.start()
            await somebody.execute("UPDATE streams SET updated_at = updated_at WHERE stream = 'orders/life-0'")
            began = time.monotonic()
            await settled(cluster, load)
            assert time.monotonic() - began > 10
        assert somebody.is_closed()
        await nothing_but_an_outage(cluster, load, monitor)
