"""The relay: two of them, one paused and woken, its database session killed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from deploy.run.deployables import program
from deploy.run.supervisor import Supervisor
from tests.faults.audit import caught_up, differences, figures
from tests.faults.cluster import Cluster
from tests.faults.load import Load, demo_commands, demo_size, loading

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ORDERS = 1000

LEADERS = """
SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND application_name = 'tidemark relay'
"""
TERMINATE = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tidemark relay'"


async def equal(cluster: Cluster, load: Load) -> None:
    await load.finished()
    await caught_up(cluster, load)
    assert await differences(cluster, load) == {}
    assert await figures(cluster, load, ORDERS) == []


@asynccontextmanager
async def second_relay(cluster: Cluster) -> AsyncIterator[Supervisor]:
    async with Supervisor(None) as other:
        await other.start([program("relay", cluster.servers)])
        yield other


async def leaders(cluster: Cluster) -> set[int]:
    """The database sessions that hold the leader's lock."""
    connection = await asyncpg.connect(cluster.private.postgres.admin_url())
    try:
        return {row["pid"] for row in await connection.fetch(LEADERS)}
    finally:
        await connection.close()


async def test_the_relays_database_session_is_killed_again_and_again(cluster: Cluster) -> None:
    connection = await asyncpg.connect(cluster.private.postgres.admin_url())
    killed = 0
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS), window=100) as load:
        while not load.sending.done():
            await cluster.pause(0.02, 0.2)
            killed += await connection.fetchval(TERMINATE)
        await connection.close()
        assert killed > 3
        await equal(cluster, load)


async def test_a_second_relay_takes_over_from_a_killed_leader(cluster: Cluster) -> None:
    async with second_relay(cluster), loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        for share in (0.2, 0.5):
            await load.reaches(share)
            assert len(await leaders(cluster)) == 1
            await cluster.supervisor.kill("relay")
            await cluster.supervisor.restart("relay")
        await equal(cluster, load)


async def test_a_leader_that_was_paused_and_lost_its_lead_does_no_harm_when_it_wakes(cluster: Cluster) -> None:
    async with second_relay(cluster), loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        await load.reaches(0.2)
        [before] = await leaders(cluster)
        paused = cluster.supervisor.pid("relay")
        os.kill(paused, signal.SIGSTOP)
        try:
            async with asyncio.timeout(60):
                while await leaders(cluster) in (set(), {before}):  # noqa: ASYNC110 - asked of the server
                    await asyncio.sleep(0.2)
            await cluster.pause(0, 1)
        finally:
            os.kill(paused, signal.SIGCONT)
        assert len(await leaders(cluster)) == 1
        await equal(cluster, load)
