"""Crashes at exact places: whatever lies on the two sides of each, after the restart every store is equal to the source."""

import asyncio

import pytest

from shared.runtime.failpoints import Failpoint
from tests import shop
from tests.faults.audit import caught_up, differences, figures
from tests.faults.cluster import Cluster
from tests.faults.crashes import start_with_failpoint, wait_for_failpoint_exit
from tests.faults.load import Load, demo_commands, demo_size, loading, order_lifecycles
from tests.faults.losses import purge
from tests.faults.waiting import in_outbox, until

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

ORDERS = 300


async def equal_everywhere(cluster: Cluster, load: Load, orders: int) -> None:
    await load.finished()
    await caught_up(cluster, load)
    assert await differences(cluster, load) == {}
    assert await figures(cluster, load, orders) == []


@pytest.mark.parametrize("place", [Failpoint.BEFORE_COMMIT, Failpoint.AFTER_COMMIT, Failpoint.BEFORE_ACK])
async def test_a_worker_that_dies_there_leaves_each_command_with_one_outcome(
    cluster: Cluster, place: Failpoint
) -> None:
    await start_with_failpoint(cluster, "worker", place=place, visit=cluster.random.randint(1, 6))
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS), window=200) as load:
        await wait_for_failpoint_exit(cluster, "worker")
        await cluster.start_with("worker")
        await equal_everywhere(cluster, load, ORDERS)


@pytest.mark.parametrize("place", [Failpoint.BEFORE_CONFIRM, Failpoint.BEFORE_DELETE])
async def test_a_relay_that_dies_there_publishes_again_what_it_has_not_deleted(
    cluster: Cluster, place: Failpoint
) -> None:
    await start_with_failpoint(cluster, "relay", place=place, visit=cluster.random.randint(1, 6))
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS), window=200) as load:
        await wait_for_failpoint_exit(cluster, "relay")
        assert await in_outbox(cluster.servers.write_db_url) > 0
        await cluster.start_with("relay")
        await equal_everywhere(cluster, load, ORDERS)


@pytest.mark.parametrize("place", [Failpoint.BEFORE_COMMIT, Failpoint.AFTER_COMMIT, Failpoint.BEFORE_ACK])
async def test_projectors_that_die_there_apply_each_event_once(cluster: Cluster, place: Failpoint) -> None:
    """All at once: each works on a store of its own."""
    await start_with_failpoint(cluster, *shop.WITH_ORDERS, place=place, visit=cluster.random.randint(1, 4))
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS), window=200) as load:
        await wait_for_failpoint_exit(cluster, *shop.WITH_ORDERS)
        await asyncio.gather(*map(cluster.start_with, shop.WITH_ORDERS))
        await equal_everywhere(cluster, load, ORDERS)


async def test_a_resend_that_dies_between_two_pages_is_done_again_whole(cluster: Cluster) -> None:
    """The summary loses everything, at the ends of its streams as well, and asks for more than one page holds."""
    count = 1200
    await start_with_failpoint(cluster, "relay", place=Failpoint.BETWEEN_PAGES)
    await cluster.supervisor.kill("summary")
    async with loading(cluster, order_lifecycles(count), 4 * count) as load:
        await load.finished()
    await until(lambda: in_outbox(cluster.servers.write_db_url), lambda waiting: waiting == 0)
    assert await purge(cluster, "summary") > 0
    await cluster.start_with("summary")
    await wait_for_failpoint_exit(cluster, "relay")
    await cluster.start_with("relay")
    await caught_up(cluster, load)
    assert await differences(cluster, load) == {}
