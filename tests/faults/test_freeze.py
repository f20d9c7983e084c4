"""A server that freezes: connections stay open and nothing answers. An outage, never poison; afterwards everything catches up."""

import asyncio

import pytest

from tests.faults.audit import caught_up, differences, figures
from tests.faults.cluster import Cluster
from tests.faults.load import demo_commands, demo_size, loading
from tests.faults.outage_monitor import monitoring_outage

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ORDERS = 1000
LONG_S = 60.0


@pytest.mark.parametrize("server", ["postgres", "redis", "rabbitmq"])
async def test_a_minute_without_a_server_counts_against_no_event_and_is_caught_up_with(
    cluster: Cluster, server: str
) -> None:
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        await load.reaches(cluster.random.uniform(0.1, 0.6))
        async with monitoring_outage(cluster) as monitor:
            async with cluster.frozen(server):
                await asyncio.sleep(LONG_S)
            await load.finished()
            await caught_up(cluster, load)
        assert monitor.responses > LONG_S / 3
        assert monitor.seen == {}
        assert await differences(cluster, load) == {}
        assert await figures(cluster, load, ORDERS) == []


async def test_short_freezes_of_every_server_in_any_mixture_change_nothing(cluster: Cluster) -> None:
    async def shiver(server: str) -> None:
        for _ in range(6):
            await cluster.pause(0, 1)
            async with cluster.frozen(server):
                await cluster.pause(0.1, 1.5)

    async with (
        loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load,
        monitoring_outage(cluster) as monitor,
    ):
        await load.reaches(0.05)
        await asyncio.gather(*map(shiver, ("postgres", "redis", "rabbitmq")))
        await load.finished()
        await caught_up(cluster, load)
        assert monitor.seen == {}
        assert await differences(cluster, load) == {}
        assert await figures(cluster, load, ORDERS) == []
