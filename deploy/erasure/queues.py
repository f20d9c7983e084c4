"""How many messages wait in the queues that may carry commands or letters. No message is taken: reading one would disturb its order."""

from collections.abc import Mapping

import aio_pika

from shared.messaging import topology
from shared.messaging.broker import BrokerUnavailableError
from shared.runtime.settings import Settings

TIMEOUT_S = 10.0


async def waiting(settings: Settings) -> Mapping[str, int]:
    """Queue → messages, where there are any. Events are sealed in queues, commands are not. Raises BrokerUnavailableError."""
    names = [topology.COMMAND_QUEUE, *map(topology.dead_queue, (*topology.SUBSCRIBERS, "commands"))]
    try:
        connection = await aio_pika.connect(settings.require("rabbitmq_url"), timeout=TIMEOUT_S)
        async with connection:
            found = {}
            for name in names:
                channel = await connection.channel()
                queue = await channel.declare_queue(name, passive=True, timeout=TIMEOUT_S)
                if count := queue.declaration_result.message_count:
                    found[name] = count
                await channel.close()
            return found
    except (aio_pika.exceptions.AMQPError, OSError, TimeoutError) as error:
        raise BrokerUnavailableError(str(error)) from error
