"""Clocks that are a day ahead or an hour back, each process by another: order never comes from clocks."""

import asyncio
from dataclasses import replace
from typing import Final

import pytest

from deploy.deployables import DEPLOYABLES
from tests.faults.audit import caught_up, differences, figures
from tests.faults.cluster import Cluster
from tests.faults.load import demo_commands, demo_size, lives, loading
from tests.faults.losses import losing

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

DAY_AHEAD: Final = 86400.0
HOUR_BACK: Final = -3600.0
ORDERS: Final = 500
LIVES: Final = 300


async def wrong(cluster: Cluster, name: str, seconds: float) -> None:
    """Start the deployable with a clock that is off by so much."""
    program = cluster.programs[name]
    python, module, *arguments = program.argv
    await cluster.start_instead(
        replace(program, argv=(python, module, "tests.faults.shifted", str(seconds), *arguments))
    )


@pytest.mark.parametrize("ahead", ["writing", "reading"])
async def test_clocks_that_are_a_day_ahead_or_an_hour_back_change_no_order(cluster: Cluster, ahead: str) -> None:
    """One side lives in tomorrow, the other an hour ago; in the middle of the run it is the other way round for some."""
    writing = {"worker", "relay", "http"}
    offsets = {name: DAY_AHEAD if (name in writing) == (ahead == "writing") else HOUR_BACK for name in DEPLOYABLES}
    await asyncio.gather(*(wrong(cluster, name, seconds) for name, seconds in offsets.items()))
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        turned = cluster.random.sample(sorted(offsets), 3)
        for number, name in enumerate(turned):
            await load.reaches(0.2 + 0.2 * number)
            await wrong(cluster, name, DAY_AHEAD + HOUR_BACK - offsets[name])
        await load.finished()
        await caught_up(cluster, load)
        assert await differences(cluster, load) == {}
        assert await figures(cluster, load, ORDERS) == []


async def test_losses_are_made_good_by_wrong_clocks_as_by_right_ones(cluster: Cluster) -> None:
    await asyncio.gather(
        wrong(cluster, "summary", DAY_AHEAD), wrong(cluster, "search", HOUR_BACK), wrong(cluster, "relay", DAY_AHEAD)
    )
    async with loading(cluster, lives(LIVES), 4 * LIVES, window=100) as load:
        await asyncio.gather(*(losing(cluster, name, load, upto=0.8) for name in ("summary", "search")))
        await load.finished()
        await caught_up(cluster, load)
        assert await differences(cluster, load) == {}
