"""The sender of both pipelines: a process of its own that publishes commands from a file, one to a message.

``python -m tests.benchmarks.sending EXCHANGE FILE FIRST COUNT RATE [USER]`` reads the broker's URL from the environment and
bodies from the file, one a line; USER is the ``user-id`` of each message. RATE 0: as fast as the window of unconfirmed messages
allows; else open loop, each at its own time whether or not those before it are confirmed. Prints when each was published, as JSON:
the clock is the machine's, the same for every process.
"""

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aio_pika
import uvloop
from aio_pika.abc import AbstractExchange

from shared.messages.envelope import CONTENT_TYPE

WINDOW: Final = 500
CONFIRM_DEADLINE_S: Final = 30.0


async def publish_all(
    exchange: AbstractExchange, bodies: Sequence[bytes], rate: float, user: str | None
) -> list[float]:
    """When each was published. Raises what the broker refuses."""
    window = asyncio.Semaphore(WINDOW if rate == 0 else len(bodies))
    types: list[str] = [json.loads(body)["type"] for body in bodies]
    published: list[float] = []
    began = time.monotonic() + 0.01
    async with asyncio.TaskGroup() as confirming:
        for number, body in enumerate(bodies):
            if rate and (early := began + number / rate - time.monotonic()) > 0:
                await asyncio.sleep(early)
            await window.acquire()
            published.append(time.monotonic())
            confirming.create_task(_publish(exchange, body, types[number], number, window, user))
    return published


async def _publish(
    exchange: AbstractExchange, body: bytes, type_: str, number: int, window: asyncio.Semaphore, user: str | None
) -> None:
    message = aio_pika.Message(
        body,
        content_type=CONTENT_TYPE,
        type=type_,
        message_id=str(number),
        user_id=user,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    async with asyncio.timeout(CONFIRM_DEADLINE_S):
        await exchange.publish(message, type_, mandatory=True)
    window.release()


async def main(exchange_name: str, file: Path, first: int, count: int, rate: float, user: str | None) -> None:
    with file.open("rb") as lines:
        bodies = [line.rstrip(b"\n") for line in itertools.islice(lines, first, first + count)]
    connection = await aio_pika.connect(os.environ["TIDEMARK_RABBITMQ_URL"], timeout=10)
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    exchange = await channel.get_exchange(exchange_name, ensure=False)
    cpu = time.process_time()
    published = await publish_all(exchange, bodies, rate, user)
    cpu = time.process_time() - cpu
    print(json.dumps({"published": published, "confirmed": time.monotonic(), "cpu_s": round(cpu, 2)}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    name, path, begin, number, pace, *user_id = sys.argv[1:]
    uvloop.run(main(name, Path(path), int(begin), int(number), float(pace), user_id[0] if user_id else None))
