"""The broker will not take events: they stay in the outbox, the relay says that it is not well, and everything comes afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractQueue

from deploy.run.topology import declare
from shared.messaging import topology
from tests.faults.audit import caught_up, differences, figures
from tests.faults.broker import limited_queues, rabbitmqctl
from tests.faults.cluster import Cluster
from tests.faults.load import Load, demo_commands, demo_size, loading
from tests.faults.waiting import fetch, in_outbox, until

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

ORDERS = 500
LANES = 4
ROOM = 3
LANES_IN_OUTBOX = "SELECT DISTINCT hash % 4 AS lane FROM outbox ORDER BY 1"


async def the_relay_is_ill(cluster: Cluster, of: str = "") -> None:
    await until(lambda: cluster.troubles("relay"), lambda said: of in said.get("relay", "") and bool(said))


async def everything_comes(cluster: Cluster, load: Load) -> None:
    await load.finished()
    await caught_up(cluster, load)
    assert await differences(cluster, load) == {}
    assert await figures(cluster, load, ORDERS) == []
    await until(lambda: cluster.troubles("relay"), lambda said: said == {})


@asynccontextmanager
async def channel_to(cluster: Cluster) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(cluster.servers.rabbitmq_url) as connection:
        yield await connection.channel()


async def lane_queues(channel: AbstractChannel, lane: int) -> list[AbstractQueue]:
    return [await channel.get_queue(topology.lane_queue(name, lane), ensure=False) for name in topology.SUBSCRIBERS]


async def test_events_that_cannot_be_routed_wait_and_hold_back_no_other_lane(cluster: Cluster) -> None:
    lane = cluster.random.randrange(LANES)
    async with channel_to(cluster) as channel:
        queues = await lane_queues(channel, lane)
        for queue in queues:
            await queue.unbind(topology.EVENTS, topology.lane_key(lane))
        async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
            await load.finished()
            await the_relay_is_ill(cluster, "UnroutableError")
            url = cluster.servers.write_db_url
            await until(lambda: fetch(url, LANES_IN_OUTBOX), lambda rows: [row["lane"] for row in rows] == [lane])
            for queue in queues:
                await queue.bind(topology.EVENTS, topology.lane_key(lane))
            await everything_comes(cluster, load)


async def test_a_missing_exchange_is_waited_for(cluster: Cluster) -> None:
    async with channel_to(cluster) as channel:
        await channel.exchange_delete(topology.EVENTS)
        async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
            await load.finished()
            await the_relay_is_ill(cluster)
            assert await in_outbox(cluster.servers.write_db_url) > 0
            await declare(cluster.servers.rabbitmq_url, LANES)
            await everything_comes(cluster, load)


async def test_events_that_a_full_queue_refuses_wait_in_the_outbox(cluster: Cluster) -> None:
    """One projection's queues are full: the others get what they get as often as it is tried."""
    await cluster.supervisor.kill("search")
    async with (
        limited_queues(cluster, *(topology.lane_queue("search", lane) for lane in range(LANES)), messages=ROOM),
        loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load,
    ):
        await load.finished()
        await the_relay_is_ill(cluster, "RefusedError")
        assert await in_outbox(cluster.servers.write_db_url) > 0
        await cluster.start_with("search")
        await everything_comes(cluster, load)


@pytest.mark.parametrize(
    ("alarm", "ease", "until_ill"),
    [
        (("set_vm_memory_high_watermark", "0.00001"), ("set_vm_memory_high_watermark", "0.4"), False),
        (("set_disk_free_limit", "999000000000000"), ("set_disk_free_limit", "50MB"), True),
    ],
    ids=["memory", "disk"],
)
async def test_an_alarm_that_blocks_publishers_loses_nothing(
    cluster: Cluster, alarm: tuple[str, str], ease: tuple[str, str], until_ill: bool
) -> None:
    """For a moment, which nobody need notice; and for longer than a publish may take."""
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        await load.reaches(0.3)
        await rabbitmqctl(cluster, *alarm)
        try:
            if until_ill:
                await the_relay_is_ill(cluster)
            else:
                await cluster.pause(5, 8)
        finally:
            await rabbitmqctl(cluster, *ease)
        await everything_comes(cluster, load)
