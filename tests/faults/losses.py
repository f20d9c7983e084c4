"""Makes the broker lose events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika

from shared.messaging import topology
from tests.faults.cluster import Cluster
from tests.faults.load import Load


async def lose_events(cluster: Cluster, projector: str, load: Load, *, upto: float) -> int:
    """Until the load has reached ``upto``, this projector alone loses events; returns how many outcomes were received meanwhile."""
    published_meanwhile = 0
    async with await aio_pika.connect(cluster.servers.rabbitmq_url) as connection:
        channel = await connection.channel()
        queues = [await channel.get_queue(topology.lane_queue(projector, lane), ensure=False) for lane in range(4)]
        while len(load.outcomes) < upto * load.total:
            before = len(load.outcomes)
            # What is published while the queue is not bound is lost.
            for lane, queue in enumerate(queues):
                await queue.unbind(topology.EVENTS, topology.lane_key(lane))
            await cluster.pause(0.02, 0.1)
            for lane, queue in enumerate(queues):
                await queue.bind(topology.EVENTS, topology.lane_key(lane))
                await queue.purge()
            published_meanwhile += len(load.outcomes) - before
            await cluster.pause(0.02, 0.1)
    return published_meanwhile


@asynccontextmanager
async def unbound(cluster: Cluster, projector: str) -> AsyncIterator[None]:
    """During the block this projector alone receives no published event."""
    async with await aio_pika.connect(cluster.servers.rabbitmq_url) as connection:
        channel = await connection.channel()
        queues = [await channel.get_queue(topology.lane_queue(projector, lane), ensure=False) for lane in range(4)]
        for lane, queue in enumerate(queues):
            await queue.unbind(topology.EVENTS, topology.lane_key(lane))
        try:
            yield
        finally:
            for lane, queue in enumerate(queues):
                await queue.bind(topology.EVENTS, topology.lane_key(lane))


async def purge(cluster: Cluster, projector: str) -> int:
    """Purge all lanes of the projector; returns how many messages were in them."""
    async with await aio_pika.connect(cluster.servers.rabbitmq_url) as connection:
        channel = await connection.channel()
        purged = 0
        for lane in range(4):
            queue = await channel.get_queue(topology.lane_queue(projector, lane), ensure=False)
            purged += (await queue.purge()).message_count or 0
    return purged
