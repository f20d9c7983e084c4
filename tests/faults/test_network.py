"""A bad network between the deployables and their servers: slow, in slices, reset in the middle of a frame, silent in one direction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from deploy.local.servers import Servers
from tests.faults.audit import caught_up, differences, figures
from tests.faults.cluster import Cluster, running_cluster
from tests.faults.load import demo_commands, demo_size, loading
from tests.proxy import Proxy, Weather

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ORDERS = 3000
URLS = {
    "rabbitmq": ("rabbitmq_url",),
    "postgres": ("write_db_url", "summary_db_url", "search_db_url"),
    "redis": ("analytics_redis_url",),
}


@dataclass
class BadNetwork:
    cluster: Cluster
    proxies: list[Proxy]
    weather: Weather
    """That of all connections that are made from now on."""

    async def equal_everywhere(self) -> None:
        async with loading(self.cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
            await load.finished()
            self.calm()
            await caught_up(self.cluster, load)
            assert await differences(self.cluster, load) == {}
            assert await figures(self.cluster, load, ORDERS) == []

    def calm(self) -> None:
        self.weather.delay_s, self.weather.slice_bytes, self.weather.reset_after_bytes = 0.0, 0, 0


@pytest.fixture(params=["rabbitmq", "postgres", "redis"])
async def network(request: pytest.FixtureRequest, own: Servers, log: Path, seeded: Random) -> AsyncIterator[BadNetwork]:
    """The deployables reach one of the servers through proxies; the sender and the audit reach all of them directly."""
    async with _between(own, URLS[request.param], log, seeded) as network:
        yield network


@asynccontextmanager
async def _between(own: Servers, fields: tuple[str, ...], log: Path, seeded: Random) -> AsyncIterator[BadNetwork]:
    weather = Weather(seeded)
    async with AsyncExitStack() as stack:
        proxies = {
            field: await stack.enter_async_context(Proxy(getattr(own, field), weather).running()) for field in fields
        }
        output = stack.enter_context(log.open("w"))
        seen = {field: proxy.url for field, proxy in proxies.items()}
        cluster = await stack.enter_async_context(running_cluster(own, output, seeded, seen=seen))
        yield BadNetwork(cluster, list(proxies.values()), weather)


async def test_delays_and_slices_change_nothing(network: BadNetwork) -> None:
    network.weather.delay_s, network.weather.slice_bytes = 0.002, 8000
    await network.equal_everywhere()


async def test_connections_that_are_reset_in_the_middle_of_a_frame_change_nothing(network: BadNetwork) -> None:
    network.weather.reset_after_bytes = 2_000_000

    async def cut_those_from_before() -> None:
        for _ in range(3):
            await network.cluster.pause(0.2, 1)
            for proxy in network.proxies:
                proxy.cut()

    cutting = asyncio.create_task(cut_those_from_before())
    await network.equal_everywhere()
    await cutting
    assert sum(proxy.resets for proxy in network.proxies) > 0


@pytest.mark.parametrize("silent", ["requests", "answers", "both"])
async def test_a_silent_connection_that_comes_back_is_caught_up_with(network: BadNetwork, silent: str) -> None:
    async def hole() -> None:
        await network.cluster.pause(0.5, 1.5)
        for proxy in network.proxies:
            if silent != "answers":
                proxy.withhold_requests()
            if silent != "requests":
                proxy.withhold_answers()
        await network.cluster.pause(5, 8)
        for proxy in network.proxies:
            proxy.release()

    holding = asyncio.create_task(hole())
    await network.equal_everywhere()
    await holding


async def test_a_black_hole_that_swallows_what_it_got_is_recovered_from(network: BadNetwork) -> None:
    async def hole() -> None:
        await network.cluster.pause(0.5, 1.5)
        for proxy in network.proxies:
            proxy.black_hole()
        await asyncio.sleep(20)
        for proxy in network.proxies:
            proxy.cut()

    holding = asyncio.create_task(hole())
    await network.equal_everywhere()
    await holding
