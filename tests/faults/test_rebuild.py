"""A rebuild whose processes are killed, at random moments and at exact places: never a mixture, always resumable, equal in the end."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from deploy.cli.projections.commands import compare_generations
from deploy.demo.system import settings_for
from shared.messages.control import Activate, Rebuild, Rollback
from shared.runtime.failpoints import Failpoint
from shared.views.generations import Generation
from tests.e2e.bus import Bus, bus_of
from tests.e2e.generations import Order, done, registry_of, until_ready
from tests.faults.audit import caught_up
from tests.faults.cluster import Cluster
from tests.faults.crashes import start_with_failpoint, wait_for_failpoint_exit
from tests.faults.load import STEPS, demo_commands, demo_size, loading, order_lifecycles

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ORDERS = 150
LIVES = 100
KILLS = 5
WHO: dict[str, Any] = {"actor": "a test", "reason": "to see it break"}


@asynccontextmanager
async def loaded(cluster: Cluster) -> AsyncIterator[Bus]:
    """Orders that are in every store; those who order find an answer."""
    async with (
        loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load,
        bus_of(cluster.servers.rabbitmq_url) as bus,
    ):
        await load.finished()
        await caught_up(cluster, load)
        yield bus


@asynccontextmanager
async def never_a_mixture(cluster: Cluster, projection: str) -> AsyncIterator[list[int]]:
    """Whenever one looks exactly one generation is active. The numbers of those that were, in turn."""
    seen: list[int] = []
    enough = asyncio.Event()

    async def look() -> None:
        async with registry_of(cluster.servers, projection) as registry:
            while not enough.is_set():
                [active] = [each.number for each in await registry.generations() if each.active]
                if seen[-1:] != [active]:
                    seen.append(active)
                await asyncio.sleep(0.005)

    looking = asyncio.create_task(look())
    try:
        yield seen
        assert not looking.done(), looking.exception()
    finally:
        enough.set()  # not cancelled: what looks may be in the middle of a command
        await asyncio.wait_for(asyncio.gather(looking, return_exceptions=True), 30)


async def insist(bus: Bus, what: Order, id_: str) -> Sequence[Generation]:
    """Ask until there is an answer: by the same id, as whoever orders does."""
    for _ in range(4):
        try:
            return await done(bus, what, id_=id_)
        except TimeoutError:
            continue
    pytest.fail(f"no answer to {what}")


async def equal(cluster: Cluster, projection: str) -> None:
    async with asyncio.timeout(60):
        while True:
            found = await compare_generations(settings_for(cluster.servers), projection, 2, 1, 5)
            if found.equal:
                return
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("projection", ["summary", "analytics"])
async def test_killed_at_random_moments_of_rebuilding_and_of_switching_it_goes_on_and_is_never_a_mixture(
    cluster: Cluster, projection: str
) -> None:
    async with loaded(cluster) as bus, never_a_mixture(cluster, projection) as seen:
        async with loading(cluster, order_lifecycles(LIVES), LIVES * len(STEPS), window=10) as load:
            await done(bus, Rebuild(projection=projection, generation=2, rate=500, **WHO))
            for victim in cluster.random.choices([projection, projection, "relay"], k=KILLS):
                await cluster.pause(0, 1.0)
                await cluster.kill_and_restart(victim)
            ready = await until_ready(cluster.servers, projection, 2, within_s=90)
            assert ready.total is not None
            assert ready.scanned >= ready.total
            await load.finished()
        for turn in range(KILLS):
            order: Order = (
                Rollback(projection=projection, **WHO) if turn else Activate(projection=projection, generation=2, **WHO)
            )
            id_ = uuid4().hex
            asking = asyncio.create_task(insist(bus, order, id_))
            await cluster.pause(0, 0.03)
            await cluster.kill_and_restart(projection)
            generations = await asking
            assert [each.number for each in generations if each.active] == [1 if turn % 2 else 2]
        await equal(cluster, projection)
    assert seen == [1, 2, 1, 2, 1, 2][: len(seen)]
    assert seen[-1] == 2


@pytest.mark.parametrize("projection", ["summary", "analytics"])
@pytest.mark.parametrize(
    ("process", "place"),
    [
        ("relay", Failpoint.BETWEEN_PORTIONS),
        ("projector", Failpoint.AFTER_PORTION),
        ("projector", Failpoint.BEFORE_SCANNED),
        ("projector", Failpoint.BEFORE_SWITCH),
        ("projector", Failpoint.AFTER_SWITCH),
    ],
)
async def test_killed_there_it_goes_on(cluster: Cluster, projection: str, process: str, place: Failpoint) -> None:
    await goes_on(cluster, projection, process, place)


async def test_killed_between_two_totals_it_makes_the_others(cluster: Cluster) -> None:
    await goes_on(cluster, "analytics", "projector", Failpoint.BETWEEN_TOTALS)


async def goes_on(cluster: Cluster, projection: str, process: str, place: Failpoint) -> None:
    victim = projection if process == "projector" else process
    async with loaded(cluster) as bus, never_a_mixture(cluster, projection) as seen:
        await start_with_failpoint(cluster, victim, place=place)
        await done(bus, Rebuild(projection=projection, generation=2, **WHO))
        if place in (Failpoint.BEFORE_SWITCH, Failpoint.AFTER_SWITCH):
            await until_ready(cluster.servers, projection, 2)
            asking = asyncio.create_task(insist(bus, Activate(projection=projection, generation=2, **WHO), "switch"))
            await wait_for_failpoint_exit(cluster, victim)
            await cluster.start_with(victim)
            await asking
        else:
            await wait_for_failpoint_exit(cluster, victim)
            await cluster.start_with(victim)
            await until_ready(cluster.servers, projection, 2)
            await insist(bus, Activate(projection=projection, generation=2, **WHO), "switch")
        await equal(cluster, projection)
    assert seen == [1, 2]
