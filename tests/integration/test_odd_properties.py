"""A message whose properties no Python can represent is consumed like any other: its body, and all of its properties that are readable."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import aiormq
import pytest
from aiormq import spec

from deploy.servers.provide import Servers
from shared.messaging.consuming import Consumer, Delivery
from tests.odd_properties import Raw, moment

WITHIN_S = 15.0


def nested(levels: int) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for _ in range(levels):
        table = {"a": table}
    return table


@contextmanager
def deep_recursion() -> Iterator[None]:
    """To send what cannot be read without it."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    yield
    sys.setrecursionlimit(limit)


ODD: dict[str, dict[str, Any]] = {
    "a correlation id that is not UTF-8": {"correlation_id": Raw("x")},
    "a type that is not UTF-8": {"message_type": Raw("x")},
    "a header whose name is not UTF-8": {"headers": {Raw("x"): 1}},
    "a timestamp in microseconds": {"timestamp": moment(1_700_000_000_000_000)},
    "the largest timestamp": {"timestamp": moment(2**63 - 1)},
    "a timestamp in nanoseconds, in a header": {"headers": {"at": moment(1_700_000_000_000_000_000)}},
    "a header of 500 levels": {"headers": nested(500)},
}


@pytest.fixture
async def channel(servers: Servers) -> AsyncIterator[aiormq.abc.AbstractChannel]:
    connection = await aiormq.connect(servers.rabbitmq_url)
    yield await connection.channel()
    await connection.close()


@pytest.fixture
async def queue(channel: aiormq.abc.AbstractChannel) -> AsyncIterator[str]:
    name = f"odd-{uuid4().hex}"
    await channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 20})
    yield name
    await channel.queue_delete(name)


async def received(servers: Servers, queue: str, count: int) -> list[Delivery]:
    consumer = Consumer(servers.rabbitmq_url, [queue], prefetch=10, name="odd properties")
    running = asyncio.create_task(consumer.run())
    found: list[Delivery] = []
    try:
        async with asyncio.timeout(WITHIN_S):
            while len(found) < count:
                found += await consumer.take(10, timeout=0.5)
        await consumer.acknowledge(found)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return found


@pytest.mark.parametrize("properties", ODD.values(), ids=ODD)
async def test_a_message_with_odd_properties_is_delivered_once_and_harms_none_beside_it(
    servers: Servers, channel: aiormq.abc.AbstractChannel, queue: str, properties: dict[str, Any]
) -> None:
    with deep_recursion():
        for body, given in ((b"before", {}), (b"odd", properties), (b"after", {"correlation_id": "sound"})):
            await channel.basic_publish(body, routing_key=queue, properties=spec.Basic.Properties(**given))
    found = await received(servers, queue, 3)
    assert [(each.body, each.redelivered) for each in found] == [(b"before", False), (b"odd", False), (b"after", False)]
    assert found[2].correlation_id == "sound"
    str(found[1].correlation_id).encode()
