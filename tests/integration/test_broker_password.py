"""The password of a broker's user is replaced under running connections: nobody has to restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import aio_pika
import pytest

from deploy.broker.management import Management
from deploy.servers.provide import Servers
from shared.messaging.broker import BrokerUnavailableError, Outgoing, Publisher
from shared.messaging.consuming import Consumer
from shared.messaging.permissions import EVERYTHING, Permissions
from shared.messaging.replies import Replies
from shared.runtime.settings import Settings
from tests.proxy import Proxy

pytestmark = pytest.mark.timeout(180)

WITHIN_S = 60.0


@pytest.fixture
async def queue(servers: Servers) -> AsyncIterator[str]:
    async with await aio_pika.connect(servers.rabbitmq_url) as connection:
        channel = await connection.channel()
        made = await channel.declare_queue(f"tests.{uuid4().hex}", durable=True, arguments={"x-queue-type": "quorum"})
        yield made.name
        await made.delete(if_unused=False, if_empty=False)


async def test_connections_go_on_and_new_ones_read_the_new_password_from_the_file(
    servers: Servers, queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not servers.rabbitmq_management_url:
        pytest.skip("these servers have no management API")
    management, user = Management(servers.rabbitmq_management_url), f"rotated-{uuid4().hex[:8]}"
    await management.put({user: Permissions(EVERYTHING, EVERYTHING, EVERYTHING, {})}, {user: "first"})
    try:
        async with Proxy(servers.rabbitmq_url).running() as proxy:
            host = proxy.url.rpartition("@")[2]
            file = tmp_path / "url"

            def write(password: str) -> None:
                url = f"amqp://{user}:{password}@{host}"
                file.write_text(f"{url}\n")

            write("first")
            monkeypatch.setenv("TIDEMARK_RABBITMQ_URL_FILE", str(file))
            monkeypatch.delenv("TIDEMARK_RABBITMQ_URL", raising=False)
            url = Settings().require("rabbitmq_url")
            publisher, consumer = Publisher(url, "tests"), Consumer(url, [queue], prefetch=10, name="tests")
            replies = Replies(url, lambda *_: None, "tests")
            tasks = [asyncio.create_task(each.run()) for each in (consumer, replies)]
            try:
                await arrives(publisher, consumer, queue)
                await replies.ready()
                before = replies.queue
                await management.set_password(user, "second")
                await arrives(publisher, consumer, queue)  # what is connected goes on
                assert replies.queue == before
                proxy.cut()
                with pytest.raises(BrokerUnavailableError):
                    await publisher.publish(Outgoing("", queue, b"x", "text/plain"))
                write("second")
                await arrives(publisher, consumer, queue)
                async with asyncio.timeout(WITHIN_S):
                    while replies.queue in ("", before):  # noqa: ASYNC110 - it connects by itself
                        await asyncio.sleep(0.05)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await publisher.close()
    finally:
        await management.delete(user)


async def arrives(publisher: Publisher, consumer: Consumer, queue: str) -> None:
    """A message that is published now is delivered, sooner or later; those in between, too."""
    body = uuid4().hex.encode()
    async with asyncio.timeout(WITHIN_S):
        while True:
            with suppress(BrokerUnavailableError):
                await publisher.publish(Outgoing("", queue, body, "text/plain"))
                break
            await asyncio.sleep(0.1)
        while True:
            deliveries = await consumer.take(10, timeout=1)
            await consumer.acknowledge(deliveries)
            if body in {each.body for each in deliveries}:
                return
