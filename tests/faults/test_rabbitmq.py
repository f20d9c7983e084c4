"""RabbitMQ in an administrator's hands: stopped and started; queues deleted, declared otherwise, and purged at the ends of streams."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from deploy.run.topology import QueueInUseError, declare
from shared.messaging import topology
from tests import shop
from tests.faults.audit import caught_up, differences, figures
from tests.faults.broker import rabbitmqctl
from tests.faults.cluster import Cluster
from tests.faults.load import Load, demo_commands, demo_size, loading, order_lifecycles
from tests.faults.losses import purge
from tests.faults.waiting import in_outbox, until

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ORDERS = 500
LIVES = 300
LANES = 4


async def equal_everywhere(cluster: Cluster, load: Load) -> None:
    await load.finished()
    await caught_up(cluster, load)
    assert await differences(cluster, load) == {}
    assert await figures(cluster, load, ORDERS) == []


@asynccontextmanager
async def channel_to(cluster: Cluster) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(cluster.servers.rabbitmq_url) as connection:
        yield await connection.channel()


def lanes_of(projector: str) -> list[str]:
    return [topology.lane_queue(projector, lane) for lane in range(LANES)]


async def test_the_broker_is_stopped_and_started_under_load(cluster: Cluster) -> None:
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        for share in (0.2, 0.6):
            await load.reaches(share)
            await rabbitmqctl(cluster, "stop_app")
            await cluster.pause(0, 3)
            await rabbitmqctl(cluster, "start_app")
        await equal_everywhere(cluster, load)


@pytest.mark.parametrize(
    "deleted",
    [lanes_of("summary"), lanes_of("analytics"), [topology.COMMAND_QUEUE, topology.RESEND_QUEUE]],
    ids=["summary", "analytics", "commands"],
)
async def test_queues_that_are_deleted_and_declared_again_lose_nothing_for_good(
    cluster: Cluster, deleted: Sequence[str]
) -> None:
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        for share in (0.2, 0.5):
            await load.reaches(share)
            async with channel_to(cluster) as channel:
                for name in deleted:
                    await channel.queue_delete(name)
            await cluster.pause(0, 2)
            await declare(cluster.servers.rabbitmq_url, LANES)
        await equal_everywhere(cluster, load)


async def _consumers(channel: AbstractChannel, name: str) -> int:
    return (await channel.declare_queue(name, passive=True)).declaration_result.consumer_count or 0


async def test_a_queue_that_somebody_declared_otherwise_is_named_by_migrate_and_made_anew_by_it(
    cluster: Cluster,
) -> None:
    """A classic queue that dead-letters nothing."""
    name = topology.lane_queue("search", cluster.random.randrange(LANES))
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS)) as load:
        await load.reaches(0.2)
        async with channel_to(cluster) as channel:
            await channel.queue_delete(name)
            otherwise = await channel.declare_queue(name, durable=True, arguments={"x-max-length": 100})
            lane = lanes_of("search").index(name)
            await otherwise.bind(topology.EVENTS, topology.lane_key(lane))
            await until(lambda: _consumers(channel, name), lambda count: count > 0)
        await load.reaches(0.4)
        with pytest.raises(QueueInUseError, match=f"queue {name} has other arguments"):
            await declare(cluster.servers.rabbitmq_url, LANES)
        await cluster.supervisor.kill("search")
        await load.reaches(0.6)
        assert f"queue {name} recreated" in (await declare(cluster.servers.rabbitmq_url, LANES))[0]
        await cluster.supervisor.restart("search")
        await equal_everywhere(cluster, load)


@pytest.mark.parametrize("projector", shop.WITH_ORDERS)
async def test_what_was_purged_at_the_end_of_every_stream_comes_again(cluster: Cluster, projector: str) -> None:
    """No later event shows that anything is missing."""
    async with loading(cluster, order_lifecycles(LIVES), 4 * LIVES) as load:
        await load.reaches(0.5)
        await cluster.supervisor.kill(projector)
        await load.finished()
        await until(lambda: in_outbox(cluster.servers.write_db_url), lambda waiting: waiting == 0)
        assert await purge(cluster, projector) > 0
        await cluster.start_with(projector)
        async with asyncio.timeout(60):
            await caught_up(cluster, load)
        assert await differences(cluster, load) == {}
