"""A publisher connects again although its callers' deadlines end one soon after another."""

import asyncio
from uuid import uuid4

import aio_pika
import pytest

from deploy.servers.provide import Servers
from shared.messaging.broker import Outgoing, Publisher
from tests.proxy import Proxy

pytestmark = pytest.mark.timeout(60)

DEADLINE_S = 1.0
MESSAGES = 40
WITHIN_S = 20.0


async def test_callers_that_give_up_do_not_break_off_the_attempt_of_the_others(servers: Servers) -> None:
    """Connecting takes longer here than a caller has: more than a second."""
    async with Proxy(servers.rabbitmq_url).running() as proxy:
        publisher = Publisher(proxy.url, "tests", deadline_s=DEADLINE_S)
        async with await aio_pika.connect(servers.rabbitmq_url) as connection:
            queue = await (await connection.channel()).declare_queue(f"tests.{uuid4().hex}", exclusive=True)
            message = Outgoing("", queue.name, b"x", "text/plain")
            proxy.black_hole()
            tasks = []
            for _ in range(MESSAGES):
                tasks.append(asyncio.create_task(publisher.publish_all([message], sleep=asyncio.sleep)))
                await asyncio.sleep(2 * DEADLINE_S / MESSAGES)
            proxy.weather.delay_s = 0.2
            proxy.cut()
            try:
                async with asyncio.timeout(WITHIN_S):
                    await asyncio.gather(*tasks)
            finally:
                await publisher.close()
