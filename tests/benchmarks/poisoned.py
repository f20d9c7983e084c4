"""``python -m tests.benchmarks.poisoned``: what one poisoned stream in a hundred costs the others, as one JSON document.

    clean, poisoned, clean, poisoned: 10,000 orders through the whole system, stores empty and processes new each time
    ──▶ by projection: healthy orders applied a second, and the ratio of the medians

Only the summary is poisoned (``TIDEMARK_POISON``); real baskets, one command to a message, at full speed. A run ends when every healthy
order is in all three stores. Runs on servers of its own, bounded to four minutes.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import psutil
import uvloop

from deploy.run import deployables
from deploy.run.supervisor import Supervisor
from deploy.servers.provide import Servers, provide
from tests.benchmarks import yardstick
from tests.benchmarks.end_to_end import write_orders
from tests.benchmarks.measuring import WARM_UP, Orders, send
from tests.benchmarks.pipelines import Probe, Tidemark, purge
from tests.shop import WITH_ORDERS

DEADLINE_S: Final = 240.0
PATIENCE_S: Final = 60.0
OUT_OF: Final = 100
POISON: Final = {"TIDEMARK_POISON": f"summary:1/{OUT_OF}"}
DEPLOYABLES: Final = ("worker", "relay", "summary", "analytics", "search", "dead_letters")


def healthy(orders: Orders, upto: int) -> int:
    """How many of the first orders the poisoned summary can apply."""
    return sum(crc32(stream.encode()) % OUT_OF >= 1 for stream in orders.streams[:upto])


async def run(servers: Servers, probe: Probe, orders: Orders, count: int, *, poisoned: bool) -> dict[str, Any]:
    await purge(servers.rabbitmq_url)
    await probe.empty()
    environment = dict(os.environ) | {"TIDEMARK_LOG_LEVEL": "WARNING"}
    sick = environment | POISON if poisoned else environment
    expected = dict.fromkeys(WITH_ORDERS, WARM_UP + count)
    warm = dict.fromkeys(WITH_ORDERS, WARM_UP)
    if poisoned:
        expected["summary"], warm["summary"] = healthy(orders, WARM_UP + count), healthy(orders, WARM_UP)
    async with Supervisor(output=None) as supervisor:
        programs = [
            deployables.program(name, servers, sick if name == "summary" else environment) for name in DEPLOYABLES
        ]
        await supervisor.start(programs)
        await send(probe, servers.rabbitmq_url, orders, 0, WARM_UP, 0)
        await _applied(probe, warm)
        watching = asyncio.create_task(_applied(probe, expected))
        report = await send(probe, servers.rabbitmq_url, orders, WARM_UP, count, 0)
        ended = await watching
    began = report["published"][0]
    return {
        "poisoned": poisoned,
        "healthy_per_s": {
            store: round((expected[store] - warm[store]) / (at - began), 1) for store, at in ended.items()
        },
    }


async def measure(servers: Servers, orders: Orders, count: int, rounds: int) -> dict[str, Any]:
    pipeline = Tidemark(servers)
    await pipeline.prepare()
    await yardstick.declare(servers.rabbitmq_url)  # its queues are purged with the others
    probe = await Probe.open(pipeline)
    try:
        runs = [
            await run(servers, probe, orders, count, poisoned=poisoned)
            for _ in range(rounds)
            for poisoned in (False, True)
        ]
    finally:
        await probe.close()
    medians = {
        poisoned: {
            store: statistics.median(one["healthy_per_s"][store] for one in runs if one["poisoned"] == poisoned)
            for store in WITH_ORDERS
        }
        for poisoned in (False, True)
    }
    return {
        "poisoned_streams": count - (healthy(orders, WARM_UP + count) - healthy(orders, WARM_UP)),
        "healthy_per_s": {"clean": medians[False], "poisoned": medians[True]},
        "ratio": {store: round(medians[True][store] / medians[False][store], 3) for store in WITH_ORDERS},
        "runs": runs,
    }


async def _applied(probe: Probe, events: dict[str, int]) -> dict[str, float]:
    """When each store was seen to have applied so many (``time.monotonic``)."""

    async def wait(store: str) -> float:
        while await probe.applied(store) < events[store]:  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.005)
        return time.monotonic()

    async with asyncio.timeout(PATIENCE_S):
        return dict(zip(WITH_ORDERS, await asyncio.gather(*map(wait, WITH_ORDERS)), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", type=int, default=10_000, help="orders in each run (default 10,000)")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each kind (default 2)")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, provide() as servers:
        if servers.origin == "environment":
            print("this empties the stores it runs on: unset TIDEMARK_*_URL, it starts its own", file=sys.stderr)
            return 2
        orders = write_orders(Path(folder) / "orders", WARM_UP + options.orders)

        async def bounded() -> dict[str, Any]:
            async with asyncio.timeout(DEADLINE_S):
                return await measure(servers, orders, options.orders, options.rounds)

        found = uvloop.run(bounded())
    document = {"orders": options.orders, "cores": psutil.cpu_count(), **found}
    print(json.dumps(document | {"took_seconds": round(time.monotonic() - began, 1)}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
