"""Thousands of clients that hold connections and hardly use them: the others are served, and memory stays where it is."""

import asyncio
import time
from typing import Final

import httpx
import pytest

from shared.runtime import descriptors
from tests.faults.audit import caught_up, differences
from tests.faults.cluster import Cluster
from tests.faults.load import loading, order_lifecycles
from tests.faults.test_input import MEGABYTE, memory_of
from tests.slow_clients import SlowClients

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

MANY: Final = 2_000
LIVES: Final = 50
WATCH_S: Final = 10.0
SOON_S: Final = 5.0
"""The machine is shared, and the clients run on it too."""
KEY: Final = "the-operators-key"
JSON: Final = "Content-Type: application/json"
COMMAND: Final = f"POST /commands/orders.place-order HTTP/1.1\r\n{JSON}"
ACT: Final = f"POST /dead-letters/replay HTTP/1.1\r\n{JSON}\r\nTidemark-Actor: x\r\nAuthorization: Bearer {KEY}"


async def test_thousands_of_slow_bodies_and_idle_listeners_keep_nobody_waiting(cluster: Cluster) -> None:
    descriptors.raise_limit()
    await cluster.start_with("query", TIDEMARK_OPERATOR_KEY=KEY)
    commands, queries = (SlowClients(httpx.URL(url).port or 0) for url in (cluster.command_url, cluster.query_url))
    async with memory_of(cluster, "http", most=256 * MEGABYTE), memory_of(cluster, "query", most=256 * MEGABYTE):
        try:
            await asyncio.gather(
                commands.hold(bodies=MANY, request=COMMAND, listeners=0),
                queries.hold(bodies=MANY, request=ACT, listeners=MANY),
            )
            async with loading(cluster, order_lifecycles(LIVES), 4 * LIVES) as load:
                await _served(cluster)
                await load.finished()
        finally:
            await asyncio.gather(commands.leave(), queries.leave())
        assert commands.answers.keys() == {408}
        assert queries.answers.keys() == {200, 408}
        assert queries.answers[200] == MANY
        await caught_up(cluster, load)
        assert await differences(cluster, load) == {}


async def _served(cluster: Cluster) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=SOON_S) as client:
        end = time.monotonic() + WATCH_S
        while time.monotonic() < end:
            assert (await client.get(f"{cluster.query_url}/orders/none")).status_code == 404
            assert (await client.get(f"{cluster.command_url}/commands/none")).status_code == 404
