"""Acknowledging out of order, as it happens when suspicious messages are tried alone, costs neither channel nor messages."""

import asyncio
from contextlib import suppress

import aio_pika
import pytest

from deploy.servers.provide import Servers
from shared.messaging.consuming import Consumer, Delivery
from tests.faults.audit import queue_depths

pytestmark = pytest.mark.timeout(60)

QUEUE = "summary.0"


async def test_what_is_acknowledged_in_any_order_is_gone_and_the_channel_lives(bare: Servers) -> None:
    consumer = Consumer(bare.rabbitmq_url, [QUEUE], prefetch=100, name="tests")
    running = asyncio.create_task(consumer.run())
    try:
        await _publish(bare, 10)
        deliveries = await _take(consumer, 10)
        channel = deliveries[0].channel
        for group in (deliveries[2:5], deliveries[7:9], deliveries[:2], deliveries[9:], deliveries[5:7]):
            await consumer.acknowledge(group)
        await _publish(bare, 3)
        later = await _take(consumer, 3)
        assert {delivery.channel for delivery in later} == {channel}
        assert not any(delivery.redelivered for delivery in later)
        await consumer.acknowledge(later)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    await asyncio.sleep(0.2)
    assert (await queue_depths(bare.rabbitmq_url))[QUEUE] == 0


async def _publish(bare: Servers, count: int) -> None:
    async with await aio_pika.connect(bare.rabbitmq_url) as connection:
        exchange = (await connection.channel()).default_exchange
        for number in range(count):
            await exchange.publish(aio_pika.Message(str(number).encode()), QUEUE)


async def _take(consumer: Consumer, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await consumer.take(100, timeout=1)
    return found
