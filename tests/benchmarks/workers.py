"""``python -m tests.benchmarks.workers``: commands a second with two command workers beside one, on the same servers, as JSON.

One place-order command to a message, real baskets, the write side alone: from the first publication until the last is decided.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop

from deploy.demo.system import settings_for
from deploy.run.deployables import program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.servers.provide import Servers, provide
from tests.benchmarks.end_to_end import write_orders
from tests.benchmarks.measuring import send
from tests.benchmarks.pipelines import Probe, Tidemark

DEADLINE_S: Final = 300.0
DECIDED: Final = "SELECT count(*) FROM commands"


async def measure(servers: Servers, file: Path, count: int, rounds: int) -> dict[str, Any]:
    orders = write_orders(file, count)
    await migrate(settings_for(servers))
    probe = await Probe.open(Tidemark(servers))
    runs: list[dict[str, float]] = []
    for number in range(2 * rounds):
        workers = 1 + number % 2
        await probe.empty()
        async with AsyncExitStack() as stack:
            for _ in range(workers):
                supervisor = await stack.enter_async_context(Supervisor(output=None))
                await supervisor.start([program("worker", servers)])
            report = await send(probe, servers.rabbitmq_url, orders, 0, count, 0)
            seconds = await _decided(probe.databases["write"], count) - report["published"][0]
        runs.append({"workers": workers, "commands_per_second": round(count / seconds, 1)})
    await probe.close()
    medians = {
        workers: statistics.median(run["commands_per_second"] for run in runs if run["workers"] == workers)
        for workers in (1, 2)
    }
    return {"commands_per_second": medians, "ratio": round(medians[2] / medians[1], 3), "runs": runs}


async def _decided(connection: asyncpg.Connection, count: int) -> float:
    while await connection.fetchval(DECIDED) < count:  # noqa: ASYNC110 - another process does it
        await asyncio.sleep(0.01)
    return time.monotonic()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--commands", type=int, default=6000, help="commands in each run (default 6000)")
    parser.add_argument("--rounds", type=int, default=3, help="runs with one and with two workers (default 3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, provide() as servers:
        if servers.origin == "environment":
            print("this benchmark empties the stores it runs on: unset TIDEMARK_*_URL", file=sys.stderr)
            return 2

        async def bounded() -> dict[str, Any]:
            async with asyncio.timeout(DEADLINE_S):
                return await measure(servers, Path(folder) / "orders", options.commands, options.rounds)

        print(json.dumps({"commands": options.commands, **uvloop.run(bounded())}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
