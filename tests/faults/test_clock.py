"""Clocks that are a day ahead or an hour back, each process by another: order never comes from clocks."""

import asyncio
from dataclasses import replace
from typing import Final

import aio_pika
import pytest

from deploy.run.deployables import DEPLOYABLES
from shared.messaging import topology
from tests.faults.audit import caught_up, differences, figures, queue_depths
from tests.faults.cluster import Cluster
from tests.faults.load import demo_commands, demo_size, loading, order_lifecycles
from tests.faults.losses import lose_events, unbound
from tests.faults.waiting import fetch, in_outbox, until

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

DAY_AHEAD: Final = 86400.0
HOUR_BACK: Final = -3600.0
ORDERS: Final = 500
LIVES: Final = 300

PUT_OFF: Final = """
SELECT count(*) AS gaps FROM held WHERE status = 'gap' AND due_at > now() + interval '1 hour'
"""


async def wrong(cluster: Cluster, name: str, seconds: float) -> None:
    """Start the deployable with a clock that is off by so much."""
    program = cluster.programs[name]
    python, module, *arguments = program.argv
    await cluster.replace_program(
        replace(program, argv=(python, module, "tests.faults.wrong_clock", str(seconds), *arguments))
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
    async with loading(cluster, order_lifecycles(LIVES), 4 * LIVES, window=100) as load:
        await asyncio.gather(*(lose_events(cluster, name, load, upto=0.8) for name in ("summary", "search")))
        await load.finished()
        await caught_up(cluster, load)
        assert await differences(cluster, load) == {}


async def test_what_a_wrong_clock_has_put_off_until_tomorrow_comes_today(cluster: Cluster) -> None:
    """The summary asks for what it misses in the belief that it is tomorrow; its requests are lost, and its clock is put right."""
    url = cluster.servers.rabbitmq_url
    async with unbound(cluster, "summary"), loading(cluster, order_lifecycles(LIVES), 4 * LIVES, window=100) as load:
        await load.reaches(0.3)
        await cluster.supervisor.kill("summary")
    async with loading(cluster, order_lifecycles(LIVES), 4 * LIVES) as load:
        await load.finished()
        await until(lambda: in_outbox(cluster.servers.write_db_url), lambda waiting: waiting == 0)
        await cluster.supervisor.kill("relay")
        await wrong(cluster, "summary", DAY_AHEAD)
        lanes = [topology.lane_queue("summary", lane) for lane in range(4)]
        await until(lambda: queue_depths(url), lambda depths: depths[topology.RESEND_QUEUE] > 0)
        await until(lambda: queue_depths(url), lambda depths: not any(depths[lane] for lane in lanes))
        await cluster.supervisor.kill("summary")
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            await (await channel.get_queue(topology.RESEND_QUEUE, ensure=False)).purge()
        [row] = await fetch(cluster.servers.stores["summary"], PUT_OFF, schema="summary")
        assert row["gaps"] > 0
        await asyncio.gather(cluster.start_with("summary"), cluster.start_with("relay"))
        await caught_up(cluster, load)
        assert await differences(cluster, load) == {}
