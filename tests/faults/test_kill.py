"""Kill -9 in the middle of a run: after the restart every store is equal to the source, and nothing is left over."""

import asyncio
from collections.abc import Iterator

import pytest

from deploy.run.deployables import DEPLOYABLES
from tests.faults.audit import caught_up, differences, figures
from tests.faults.cluster import Cluster
from tests.faults.load import Load, demo_commands, demo_size, loading

pytestmark = pytest.mark.timeout(240)

SERVERS = ("postgres", "redis", "rabbitmq")
ORDERS = 1000


async def equal_everywhere(cluster: Cluster, load: Load, orders: int) -> None:
    await load.finished()
    await caught_up(cluster, load)
    assert await differences(cluster, load) == {}
    assert await figures(cluster, load, orders) == []


@pytest.fixture
def moments(cluster: Cluster) -> Iterator[float]:
    """Random shares of the load at which to strike."""
    return (cluster.random.uniform(0.1, 0.8) for _ in iter(int, 1))


async def test_a_run_in_which_everything_is_killed_once_is_equal_everywhere(cluster: Cluster) -> None:
    victims = [*DEPLOYABLES, *SERVERS]
    cluster.random.shuffle(victims)
    orders = 500
    async with loading(cluster, demo_commands(orders), demo_size(orders), window=200) as load:
        for number, victim in enumerate(victims):
            await load.reaches(0.05 + 0.8 * number / len(victims))
            await cluster.kill_and_restart(victim)
        await equal_everywhere(cluster, load, orders)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [*DEPLOYABLES, *SERVERS])
async def test_a_run_in_which_one_is_killed_again_and_again_is_equal_everywhere(
    cluster: Cluster, moments: Iterator[float], victim: str
) -> None:
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        for moment in sorted(next(moments) for _ in range(3)):
            await load.reaches(moment)
            await cluster.pause(0, 0.3)
            await cluster.kill_and_restart(victim)
        await equal_everywhere(cluster, load, ORDERS)


@pytest.mark.slow
async def test_all_servers_killed_at_once_is_an_outage_and_nothing_more(
    cluster: Cluster, moments: Iterator[float]
) -> None:
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        await load.reaches(next(moments))
        await asyncio.gather(*map(cluster.kill_and_restart, SERVERS))
        await equal_everywhere(cluster, load, ORDERS)
