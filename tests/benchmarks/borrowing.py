"""``python -m tests.benchmarks.borrowing``: what the facts of a sale cost the command worker, beside the same orders without them, as JSON.

Real baskets, whose customers and products are in the write database. Batches with and without facts take turns on the same database, so
both see the same machine. The worker's CPU is that of this process: parsing and deciding, without the broker, which would only add to
both sides. The server's is that of its backends.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

import asyncpg
import psutil
import uvloop

from command_service.domain.orders import AGGREGATE
from command_service.handling.decision import Outcome
from command_service.handling.handler import Handler
from command_service.handling.parsing import Command, read
from deploy.demo.shop.source import RetailYear
from deploy.demo.system import settings_for
from deploy.run.migrate import migrate
from deploy.sending.batches import CommandMessage
from deploy.servers.provide import Servers, provide

BATCH: Final = 200
DEADLINE_S: Final = 300.0
BACKENDS: Final = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
NAMES: Final = {True: "with_facts", False: "without"}


async def measure(servers: Servers, count: int) -> dict[str, Any]:
    await migrate(settings_for(servers))
    year = RetailYear(count)
    handler = Handler(servers.write_db_url, servers.keys_db_url)
    watch = await asyncpg.connect(servers.write_db_url)
    for several in _batches(iter([*year.customers(), *year.products()])):
        await handler.handle(_commands(several))
    declared: Any = AGGREGATE.borrows
    kept = dict(declared)
    cost = {which: {"orders": 0, "worker_s": 0.0, "server_s": 0.0, "seconds": 0.0} for which in NAMES}
    for number, several in enumerate(_batches(year.baskets())):
        borrows = number % 2 == 0
        declared.clear()
        declared.update(kept if borrows else {})
        before = await _server_cpu(watch)
        began, cpu = time.monotonic(), time.process_time()
        results = await handler.handle(_commands(several))
        spent = {"worker_s": time.process_time() - cpu, "seconds": time.monotonic() - began}
        spent["server_s"] = await _server_cpu(watch) - before
        if number >= 2:  # the first of each warms up
            mine = cost[borrows]
            mine["orders"] += sum(isinstance(each, Outcome) for each in results)
            for name, value in spent.items():
                mine[name] += value
    declared.update(kept)
    await watch.close()
    await handler.close()
    found: dict[str, Any] = {
        NAMES[which]: {
            "orders": each["orders"],
            "worker_us_per_order": round(each["worker_s"] / each["orders"] * 1e6, 1),
            "server_us_per_order": round(each["server_s"] / each["orders"] * 1e6, 1),
            "orders_per_second": round(each["orders"] / each["seconds"]),
        }
        for which, each in cost.items()
    }
    for name in ("worker_us_per_order", "server_us_per_order"):
        found[name.removesuffix("_us_per_order") + "_ratio"] = round(
            found[NAMES[True]][name] / found[NAMES[False]][name], 3
        )
    return found


async def _server_cpu(connection: asyncpg.Connection) -> float:
    times = [psutil.Process(row["pid"]).cpu_times() for row in await connection.fetch(BACKENDS)]
    return sum(each.user + each.system for each in times)


def _batches(messages: Iterator[CommandMessage]) -> Iterator[list[CommandMessage]]:
    while several := list(islice(messages, BATCH)):
        yield several


def _commands(messages: Sequence[CommandMessage]) -> list[Command]:
    return [part for each in messages for part in read(each.body).parts if isinstance(part, Command)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", type=int, default=20_000, help="half of them with facts (default 20,000)")
    options = parser.parse_args()
    with provide() as servers:
        if servers.origin == "environment":
            print("this benchmark needs an empty database: unset TIDEMARK_*_URL", file=sys.stderr)
            return 2

        async def bounded() -> dict[str, Any]:
            async with asyncio.timeout(DEADLINE_S):
                return await measure(servers, options.orders)

        print(json.dumps(uvloop.run(bounded()), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
