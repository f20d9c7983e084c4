"""A bad network between the deployables and their servers: slow, in slices, reset in the middle of a frame, silent in one direction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from deploy.servers.provide import Servers
from shared.read_models import IN_POSTGRES
from tests.faults.audit import caught_up, differences, figures
from tests.faults.cluster import Cluster
from tests.faults.conftest import FAILED, Standing
from tests.faults.load import demo_commands, demo_size, loading
from tests.proxy import Proxy, Weather

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ORDERS = 1000
URLS = {
    "rabbitmq": ("TIDEMARK_RABBITMQ_URL",),
    "postgres": ("TIDEMARK_WRITE_DB_URL", *(model.variable for model in IN_POSTGRES)),
    "redis": ("TIDEMARK_ANALYTICS_REDIS_URL",),
}
RESET_AFTER_BYTES = {"rabbitmq": 1_000_000, "postgres": 2_000_000, "redis": 300_000}
"""More than the largest transaction or message: what never gets through in one piece never gets through."""


@dataclass
class BadNetwork:
    """What one of the servers is reached through, by everybody but the sender and the audit."""

    proxies: list[Proxy]
    weather: Weather
    """That of all connections that are made from now on."""
    seen: dict[str, str]
    reset_after_bytes: int

    def calm(self) -> None:
        self.weather.delay_s, self.weather.slice_bytes, self.weather.reset_after_bytes = 0.0, 0, 0


@dataclass
class Case:
    cluster: Cluster
    network: BadNetwork

    async def equal_everywhere(self) -> None:
        async with loading(self.cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
            await load.finished()
            self.network.calm()
            await caught_up(self.cluster, load)
            assert await differences(self.cluster, load) == {}
            assert await figures(self.cluster, load, ORDERS) == []


@pytest.fixture(scope="module", params=list(URLS))
async def network(request: pytest.FixtureRequest, own: Servers) -> AsyncIterator[BadNetwork]:
    weather = Weather()
    async with AsyncExitStack() as stack:
        proxies = {
            name: await stack.enter_async_context(Proxy(own.environ()[name], weather).running())
            for name in URLS[request.param]
        }
        yield BadNetwork(
            list(proxies.values()),
            weather,
            {name: proxy.url for name, proxy in proxies.items()},
            RESET_AFTER_BYTES[request.param],
        )


@pytest.fixture
async def case(
    network: BadNetwork, standing: Standing, log: Path, seeded: Random, request: pytest.FixtureRequest
) -> AsyncIterator[Case]:
    network.weather.random = seeded
    yield Case(await standing.ready(seeded, network.seen), network)
    network.calm()
    for proxy in network.proxies:
        proxy.release()
    if request.node.stash.get(FAILED, False):
        await standing.gone()


async def test_delays_and_slices_change_nothing(case: Case) -> None:
    case.network.weather.delay_s, case.network.weather.slice_bytes = 0.002, 8000
    await case.equal_everywhere()


async def test_connections_that_are_reset_in_the_middle_of_a_frame_change_nothing(case: Case) -> None:
    before = sum(proxy.resets for proxy in case.network.proxies)
    case.network.weather.reset_after_bytes = case.network.reset_after_bytes

    async def cut_those_from_before() -> None:
        for _ in range(3):
            await case.cluster.pause(0.2, 1)
            for proxy in case.network.proxies:
                proxy.cut()

    cutting = asyncio.create_task(cut_those_from_before())
    await case.equal_everywhere()
    await cutting
    assert sum(proxy.resets for proxy in case.network.proxies) > before


@pytest.mark.parametrize("silent", ["requests", "answers", "both"])
async def test_a_silent_connection_that_comes_back_is_caught_up_with(case: Case, silent: str) -> None:
    async def hole() -> None:
        await case.cluster.pause(0.5, 1.5)
        for proxy in case.network.proxies:
            if silent != "answers":
                proxy.withhold_requests()
            if silent != "requests":
                proxy.withhold_answers()
        await case.cluster.pause(5, 8)
        for proxy in case.network.proxies:
            proxy.release()

    holding = asyncio.create_task(hole())
    await case.equal_everywhere()
    await holding


async def test_a_black_hole_that_swallows_what_it_got_is_recovered_from(case: Case) -> None:
    async def hole() -> None:
        await case.cluster.pause(0.5, 1.5)
        for proxy in case.network.proxies:
            proxy.black_hole()
        await asyncio.sleep(20)
        for proxy in case.network.proxies:
            proxy.cut()

    holding = asyncio.create_task(hole())
    await case.equal_everywhere()
    await holding
