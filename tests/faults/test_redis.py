"""Redis out of memory, and killed inside a script: analytics waits, and what a script had half done is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from projectors.models.analytics import store
from projectors.models.analytics.projection import fold
from projectors.models.analytics.script import CommitCall
from projectors.stores.port import Commit
from shared.views.analytics import Keys
from tests.faults.audit import caught_up, differences, figures
from tests.faults.cluster import Cluster
from tests.faults.load import demo_commands, demo_size, loading
from tests.faults.outage_monitor import monitoring_outage
from tests.faults.waiting import until
from tests.shop import placed, run

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

ORDERS = 500
SCRIPT: Final = store.script("exact", "commit")
LAST_LINE: Final = "\nreturn 1\n"
AND_SPINS: Final = "\nredis.call('HSET', KEYS[1], 'spinning', 1)\nwhile true do end\n"
GHOST: Final = "orders/ghost"


async def test_a_store_out_of_memory_is_an_outage_of_that_projection_alone(cluster: Cluster) -> None:
    async with (
        loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load,
        monitoring_outage(cluster) as monitor,
    ):
        await load.reaches(0.2)
        async with _short_of_memory(cluster):
            said = await until(lambda: cluster.troubles("analytics"), lambda said: "store" in said)
            await load.finished()
            assert not await cluster.troubles("summary")
            assert not await cluster.troubles("search")
        await caught_up(cluster, load)
        assert "OutOfMemory" in said["store"]
        assert monitor.seen == {}
        assert await differences(cluster, load) == {}
        assert await figures(cluster, load, ORDERS) == []


@asynccontextmanager
async def _short_of_memory(cluster: Cluster) -> AsyncIterator[None]:
    async with Redis.from_url(cluster.servers.stores["analytics"]) as redis:
        await redis.config_set("maxmemory", "100kb")
        try:
            yield
        finally:
            await redis.config_set("maxmemory", "0")


async def test_a_kill_inside_a_script_leaves_nothing_of_it(cluster: Cluster) -> None:
    """The very script of a commit, with all its writes done, spins instead of returning: there it is killed."""
    assert SCRIPT.endswith(LAST_LINE)
    spinning = SCRIPT.removesuffix(LAST_LINE) + AND_SPINS
    ghost = run(GHOST, placed("ghost", at=datetime(2026, 1, 1, tzinfo=UTC)))
    call = CommitCall(Keys(), Commit(advances=[ghost]), fold([ghost]))
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        await load.reaches(0.3)
        running = asyncio.create_task(_run(cluster, spinning, call))
        await until(lambda: _busy(cluster), within_s=20)
        await asyncio.to_thread(cluster.private.redis.kill)
        await running
        await asyncio.to_thread(cluster.private.redis.start)
        await asyncio.to_thread(cluster.private.redis.wait_ready)
        async with Redis.from_url(cluster.servers.stores["analytics"], decode_responses=True) as redis:
            assert await redis.hmget(Keys().positions, [GHOST, "spinning"]) == [None, None]
        await load.finished()
        await caught_up(cluster, load)
        assert await differences(cluster, load) == {}
        assert await figures(cluster, load, ORDERS) == []


async def _run(cluster: Cluster, script: str, call: CommitCall) -> None:
    async with Redis.from_url(cluster.servers.stores["analytics"]) as redis:
        await redis.config_set("busy-reply-threshold", "50")
        with suppress(RedisError, OSError):
            arguments: list[Any] = [*call.keys, call.argument]
            await redis.eval(script, len(call.keys), *arguments)


async def _busy(cluster: Cluster) -> bool:
    """Whether the server says that a script keeps it busy (it says so after ``busy-reply-threshold``)."""
    async with Redis.from_url(cluster.servers.stores["analytics"], socket_timeout=10) as redis:
        try:
            await redis.ping()
        except RedisError as error:
            return "BUSY" in str(error)
    return False
