"""The yardstick: a bare pipeline of the same shape, messages and rows as Tidemark, and nothing that makes Tidemark
Tidemark.

    commands ──▶ worker (group commit) ──▶ outbox ──▶ relay (packs of 100, confirmed) ──▶ three queues ──▶ three sinks

No contracts, no decisions, no idempotency, no versions, no lanes, no failure handling: what is left is what any
pipeline of these parts has to pay. ``python -m tests.benchmarks.yardstick worker|relay|summary|analytics|search``: a
process each.
"""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage

COMMANDS: Final = "yardstick.commands"
EVENTS: Final = "yardstick.events"
SINKS: Final = ("summary", "analytics", "search")
ROLES: Final = ("worker", "relay", *SINKS)
QUORUM: Final[dict[str, Any]] = {"x-queue-type": "quorum"}

RABBITMQ_URL: Final = "TIDEMARK_RABBITMQ_URL"


def sink_queue(sink: str) -> str:
    return f"yardstick.{sink}"


def queues() -> tuple[str, ...]:
    return (COMMANDS, *map(sink_queue, SINKS))


async def declare(url: str) -> None:
    """The two exchanges and four queues."""
    connection = await aio_pika.connect(url, timeout=10)
    channel = await connection.channel()
    commands = await channel.declare_exchange(COMMANDS, aio_pika.ExchangeType.FANOUT, durable=True)
    events = await channel.declare_exchange(EVENTS, aio_pika.ExchangeType.FANOUT, durable=True)
    await (await channel.declare_queue(COMMANDS, durable=True, arguments=QUORUM)).bind(commands)
    for sink in SINKS:
        await (await channel.declare_queue(sink_queue(sink), durable=True, arguments=QUORUM)).bind(events)
    await connection.close()


async def consume(queue_name: str, prefetch: int, take: int, handle: Callable[[list[bytes]], Awaitable[None]]) -> None:
    """Hand over what is waiting, up to ``take`` messages at a time, and acknowledge after it was handled. Never
    returns.
    """
    connection = await aio_pika.connect(os.environ[RABBITMQ_URL], timeout=10)
    channel = await connection.channel(publisher_confirms=False)
    await channel.set_qos(prefetch)
    waiting: deque[tuple[int, bytes]] = deque()
    arrived = asyncio.Event()

    async def receive(message: AbstractIncomingMessage) -> None:
        waiting.append((message.delivery_tag or 0, message.body))
        arrived.set()

    queue = await channel.get_queue(queue_name, ensure=False)
    await queue.consume(receive)
    acknowledging = await channel.get_underlay_channel()
    while True:
        if not waiting:
            arrived.clear()
            await arrived.wait()
        taken = [waiting.popleft() for _ in range(min(take, len(waiting)))]
        await handle([body for _, body in taken])
        await acknowledging.basic_ack(max(tag for tag, _ in taken), multiple=True)


async def main(role: str) -> None:
    # Imported by role, so that no process carries what only another needs.
    run: Callable[..., Any]
    if role in ("worker", "relay"):
        from tests.benchmarks import yardstick_write

        run = yardstick_write.worker if role == "worker" else yardstick_write.relay
    else:
        from tests.benchmarks import yardstick_sinks

        run = yardstick_sinks.SINKS[role]
    ready = asyncio.create_task(_say_ready(role))
    await run()
    await ready


async def _say_ready(role: str) -> None:
    await asyncio.sleep(0.5)
    print(f"tidemark ready: {role}", flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
