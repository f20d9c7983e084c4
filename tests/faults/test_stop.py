"""SIGTERM under load: out within 30 seconds with exit code 0, and nothing is lost by it."""

import asyncio
import os
import signal
import time

import pytest

from deploy.run.deployables import DEPLOYABLES
from tests.faults.audit import caught_up, differences, figures
from tests.faults.cluster import Cluster
from tests.faults.load import demo_commands, demo_size, loading

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ORDERS = 1000


async def test_each_deployable_in_turn_is_out_in_time_with_exit_code_zero(cluster: Cluster) -> None:
    names = list(DEPLOYABLES)
    cluster.random.shuffle(names)
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS), window=200) as load:
        for number, name in enumerate(names):
            await load.reaches(0.05 + 0.8 * number / len(names))
            await _out_in_time(cluster, name)
            await _restarted(cluster, 1)
        await load.finished()
        await caught_up(cluster, load)
        assert await differences(cluster, load) == {}
        assert await figures(cluster, load, ORDERS) == []


@pytest.mark.parametrize("away", ["postgres", "redis", "rabbitmq"])
async def test_everything_is_out_in_time_while_a_server_does_not_answer(cluster: Cluster, away: str) -> None:
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        await load.reaches(0.2)
        async with cluster.frozen(away):
            await asyncio.sleep(2)
            await _out_in_time(cluster, *DEPLOYABLES)
        await _restarted(cluster, len(DEPLOYABLES))
        await load.finished()
        await caught_up(cluster, load)
        assert await differences(cluster, load) == {}


async def _out_in_time(cluster: Cluster, *names: str) -> None:
    began = time.monotonic()
    for name in names:
        os.kill(cluster.supervisor.pid(name), signal.SIGTERM)
    while running := [name for name in names if cluster.supervisor.running(name)]:
        assert time.monotonic() - began < 30, running
        await asyncio.sleep(0.05)


async def _restarted(cluster: Cluster, count: int) -> None:
    for _ in range(count):
        death = await cluster.supervisor.unexpected_exit()
        assert death.reason == "exit code 0", death
        await cluster.supervisor.restart(death.name)
