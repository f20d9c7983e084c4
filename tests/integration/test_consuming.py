"""What a consumer takes at once, from a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import chain
from uuid import uuid4

import aio_pika
import pytest

from deploy.servers.provide import Servers
from shared.messaging.consuming import Consumer

SIZES = (100, 100, 100, 500, 50, 50)


@pytest.fixture
async def waiting(servers: Servers) -> AsyncIterator[Consumer]:
    """A consumer of a queue with messages of SIZES."""
    async with await aio_pika.connect(servers.rabbitmq_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(f"tests.{uuid4().hex}")
        for size in SIZES:
            await channel.default_exchange.publish(aio_pika.Message(b"." * size), queue.name)
        consumer = Consumer(servers.rabbitmq_url, [queue.name], prefetch=100, name="tests")
        running = asyncio.create_task(consumer.run())
        yield consumer
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await queue.delete(if_unused=False, if_empty=False)


@pytest.mark.parametrize(("limit", "size"), [(10, 250), (10, 600), (10, 1), (2, 1000)])
async def test_what_is_taken_at_once_is_bounded_by_count_and_by_size_but_for_the_first(
    waiting: Consumer, limit: int, size: int
) -> None:
    taken: list[list[int]] = []
    async with asyncio.timeout(20):
        while sum(map(len, taken)) < len(SIZES):
            found = await waiting.take(limit, size=size, timeout=1)
            taken.append([len(delivery.body) for delivery in found])
    assert tuple(chain.from_iterable(taken)) == SIZES
    assert all(len(one) <= limit and (sum(one) <= size or len(one) == 1) for one in taken)
    assert await waiting.take(limit, size=size, timeout=0.1) == []
