"""Input without end, and senders without haste: refused or waited for at a bounded cost, while everybody else is served."""

import asyncio
import select
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

import aio_pika
import httpx
import psutil
import pytest

from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.views import operations
from tests.faults.audit import caught_up, differences
from tests.faults.cluster import Cluster
from tests.faults.load import loading, order_lifecycles, step
from tests.faults.waiting import fetch, until

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]

GIGABYTE: Final = 1024**3
MEGABYTE: Final = 1024**2
LIVES: Final = 100
LORIS: Final = 300
SOON_S: Final = 2.0

LETTER = "SELECT reason, size FROM letters WHERE origin = 'commands'"


@asynccontextmanager
async def memory_of(cluster: Cluster, name: str, *, most: int) -> AsyncIterator[None]:
    """Meanwhile the deployable's resident memory grows by no more than ``most`` bytes."""
    process = psutil.Process(cluster.supervisor.pid(name))
    before = highest = process.memory_info().rss

    async def watch() -> None:
        nonlocal highest
        while True:
            highest = max(highest, process.memory_info().rss)
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
    assert highest - before <= most, f"{name} grew by {(highest - before) / MEGABYTE:.0f} MiB"


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
async def test_a_body_of_a_gigabyte_is_refused_at_once_and_costs_no_memory(cluster: Cluster, framing: str) -> None:
    async with (
        memory_of(cluster, "http", most=64 * MEGABYTE),
        loading(cluster, order_lifecycles(LIVES), 4 * LIVES) as load,
    ):
        sending = [
            asyncio.create_task(asyncio.to_thread(_send_a_gigabyte, cluster.command_url, framing)) for _ in range(4)
        ]
        async with httpx.AsyncClient(base_url=cluster.command_url, trust_env=False, timeout=SOON_S) as client:
            while not all(task.done() for task in sending):
                assert (await client.get("/health/live")).status_code == 200
        for status, sent in await asyncio.gather(*sending):
            assert status == 413
            assert sent < 128 * MEGABYTE
        await load.finished()
        await caught_up(cluster, load)
        assert await differences(cluster, load) == {}


def _send_a_gigabyte(url: str, framing: str) -> tuple[int, int]:
    """The answer's status, and how much had been sent when it came, or when the connection was closed."""
    length = f"Content-Length: {GIGABYTE}" if framing == "content-length" else "Transfer-Encoding: chunked"
    head = f"POST /commands/orders.place-order HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    piece = b" " * MEGABYTE
    framed = piece if framing == "content-length" else b"%x\r\n%s\r\n" % (len(piece), piece)
    sent = 0
    with socket.create_connection(_address(url), timeout=10) as connection:
        connection.sendall(head.encode())
        # Whoever goes on sending into a closed connection can still read what was answered before.
        with suppress(BrokenPipeError, ConnectionResetError):
            while sent < GIGABYTE and not select.select([connection], [], [], 0)[0]:
                connection.sendall(framed)
                sent += len(piece)
        return int(connection.recv(4096).split()[1]), sent


async def test_a_message_far_above_the_limit_is_a_letter_and_holds_nobody_up(cluster: Cluster) -> None:
    size = 15 * MEGABYTE  # RabbitMQ 4 takes up to 16
    async with loading(cluster, order_lifecycles(LIVES), 4 * LIVES, window=50) as load:
        await load.reaches(0.2)
        async with (
            memory_of(cluster, "worker", most=8 * size),
            await aio_pika.connect(cluster.servers.rabbitmq_url) as connection,
        ):
            commands = await (await connection.channel()).get_exchange(topology.COMMANDS, ensure=False)
            message = aio_pika.Message(b"[" + b" " * (size - 2) + b"]", content_type=CONTENT_TYPE)
            await commands.publish(message, "orders.place-order")
            url = cluster.servers.operations_db_url
            [letter] = await until(lambda: fetch(url, LETTER, schema=operations.SCHEMA))
            assert (letter["reason"], letter["size"]) == ("message-too-large", size)
            await load.finished()
        await caught_up(cluster, load)
        found = await differences(cluster, load)
        assert set(found) == {"letters"}, found


@pytest.mark.parametrize("service", ["http", "query"])
async def test_senders_without_haste_keep_nobody_else_waiting(cluster: Cluster, service: str) -> None:
    url = cluster.command_url if service == "http" else cluster.query_url
    slow = [asyncio.create_task(_dawdle(url)) for _ in range(LORIS)]
    try:
        async with loading(cluster, [step("place", "o-1")], 1) as load:
            await load.finished()
            await caught_up(cluster, load)
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=SOON_S) as client:
            end = time.monotonic() + 4
            while time.monotonic() < end:
                path = "/orders/o-1" if service == "query" else "/commands/place-o-1"
                assert (await client.get(path)).status_code == 200
        assert sum(not task.done() for task in slow) > LORIS / 2, "they were to be there all the time"
    finally:
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def _dawdle(url: str) -> None:
    """A request that comes byte by byte, and never comes to its end."""
    _, writer = await asyncio.open_connection(*_address(url))
    try:
        writer.write(
            b"POST /commands/orders.place-order HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nX-Slow: "
        )
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.5)
    finally:
        writer.transport.abort()


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
