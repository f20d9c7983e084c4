"""``python -m tests.benchmarks.end_to_end``: Tidemark beside a bare yardstick, on the same servers, as one JSON
document.

    yardstick, tidemark, yardstick, tidemark: orders a second, stores empty and processes new each time ──▶ ratio of
    the medians tidemark at half of its rate, and at 50 orders a second: lag from publication to all three stores

Real baskets with nothing to refuse in them, one place-order command to a message, the same sender for both. Empties the
stores, so it runs on servers that it has started itself and on no others. Bounded to three minutes.
"""

import argparse
import asyncio
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop

from deploy.demo.shop.source import RetailYear
from deploy.run.supervisor import Supervisor
from deploy.servers.provide import Servers, provide
from shared.runtime.settings import Settings
from tests.benchmarks.measuring import WARM_UP, Costs, Orders, lag, send, server_pids, throughput
from tests.benchmarks.pipelines import Pipeline, Probe, Tidemark, Yardstick, purge
from tests.benchmarks.yardstick import ROLES, queues

DEADLINE_S: Final = 180.0
SLOW_RATE: Final = 50.0
LAG_SECONDS: Final = 10.0
DISTURBED: Final = 0.1
"""Somebody else's share of the machine from which on a run says little."""
PACKAGES: Final = ("aio-pika", "asyncpg", "redis", "faststream", "pydantic", "uvloop")


def write_orders(file: Path, count: int) -> Orders:
    """The first ``count`` baskets without a line that would be refused, and the stream of each."""
    streams: list[str] = []
    with file.open("wb") as bodies:
        for command in RetailYear(count + count // 10 + 100).baskets():
            data = json.loads(command.body)["data"]
            if all(line["quantity"] > 0 for line in data["lines"]):
                bodies.write(command.body + b"\n")
                streams.append(f"orders/{data['order_id']}")
            if len(streams) == count:
                break
    return Orders(file, streams)


async def measure(servers: Servers, orders: Orders, count: int, rounds: int) -> dict[str, Any]:
    pipelines: Sequence[Pipeline] = (Yardstick(servers), Tidemark(servers))
    for pipeline in pipelines:
        await pipeline.prepare()
    runs: list[dict[str, Any]] = []
    lags: dict[str, Any] = {}
    for number in range(rounds):
        for pipeline in pipelines:
            await purge(servers.rabbitmq_url, *queues())
            last = number == rounds - 1 and pipeline.name == "tidemark"
            run, lags = await _run(servers, pipeline, orders, count, runs if last else None)
            runs.append(run)
    medians = {pipeline.name: _median(runs, pipeline.name) for pipeline in pipelines}
    cpu = {pipeline.name: _cpu(runs, pipeline.name) for pipeline in pipelines}
    return {
        "orders_per_second": medians,
        "ratio": round(medians["tidemark"] / medians["yardstick"], 3),
        "cpu_ratio": round(cpu["yardstick"]["total"] / cpu["tidemark"]["total"], 3),
        "disturbed": any(run["machine"]["others"] > DISTURBED * capacity(run) for run in (*runs, *lags.values())),
        "lag": lags,
        "cpu_ms_per_order": cpu,
        "peak_mib": {run["pipeline"]: run.pop("peak_mib") for run in runs},
        "runs": runs,
    }


async def _run(
    servers: Servers, pipeline: Pipeline, orders: Orders, count: int, before: list[dict[str, Any]] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A throughput run from empty stores; with the runs ``before`` it, lag on the same processes as well."""
    probe = await Probe.open(pipeline)
    try:
        await probe.empty()
        async with Supervisor(output=None) as supervisor:
            await supervisor.start(pipeline.programs())
            await send(probe, servers.rabbitmq_url, orders, 0, WARM_UP, 0)
            await probe.wait_for(WARM_UP)
            begin = partial(Costs, supervisor, ROLES, server_pids(servers))
            run = await throughput(probe, servers.rabbitmq_url, orders, WARM_UP, count, begin)
            lags: dict[str, Any] = {}
            if before is not None:
                half = _median([*before, run], pipeline.name) / 2
                first = WARM_UP + count
                slow = await lag(
                    probe, servers.rabbitmq_url, orders, first, SLOW_RATE, LAG_SECONDS, begin, poll_s=0.004
                )
                first += int(SLOW_RATE * LAG_SECONDS)
                seconds = min(LAG_SECONDS, (len(orders.streams) - first) / half)
                fast = await lag(probe, servers.rabbitmq_url, orders, first, half, seconds, begin, poll_s=0.01)
                lags = {"at_50_a_second": slow, "at_half_rate": fast}
            return run, lags
    finally:
        await probe.close()


def _median(runs: Sequence[dict[str, Any]], name: str) -> float:
    rates: list[float] = [run["orders_per_second"] for run in runs if run["pipeline"] == name]
    return round(statistics.median(rates), 1)


def _cpu(runs: Sequence[dict[str, Any]], name: str) -> dict[str, float]:
    """Where the time goes: milliseconds of CPU for each order, by process, the median of the runs."""
    mine = [run for run in runs if run["pipeline"] == name]
    by_process = {
        process: round(statistics.median(run["cpu_seconds"][process] / run["orders"] for run in mine) * 1000, 3)
        for process in mine[0]["cpu_seconds"]
    }
    return by_process | {"total": round(sum(by_process.values()), 3)}


def capacity(run: dict[str, Any]) -> float:
    """CPU seconds that the machine had for the run."""
    return float(run["seconds"]) * (psutil.cpu_count() or 1)


def environment(servers: Servers, began: float) -> dict[str, Any]:
    return {
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average_before": [round(load, 2) for load in psutil.getloadavg()],
        "python": platform.python_version(),
        "system": platform.platform(),
        "servers": servers.origin,
        "lanes": Settings().lanes,
        "packages": {name: version(name) for name in PACKAGES},
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", type=int, default=8000, help="orders in each throughput run (default 8000)")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each pipeline (default 2)")
    options = parser.parse_args()
    began = time.time()
    with tempfile.TemporaryDirectory() as folder, provide() as servers:
        if servers.origin == "environment":
            print("bench empties the stores it runs on: unset TIDEMARK_*_URL, it starts its own", file=sys.stderr)
            return 2
        facts = environment(servers, began)
        extra = int(SLOW_RATE * LAG_SECONDS) + int(LAG_SECONDS * 2500)
        orders = write_orders(Path(folder) / "orders", WARM_UP + options.orders + extra)

        async def bounded() -> dict[str, Any]:
            async with asyncio.timeout(DEADLINE_S - (time.time() - began)):
                return await measure(servers, orders, options.orders, options.rounds)

        found = uvloop.run(bounded())
    selection = "the first baskets of the year in time order, without those to be refused; no randomness"
    document = {"environment": facts, "orders": {"selection": selection, "count": options.orders}, **found}
    print(json.dumps(document | {"took_seconds": round(time.time() - began, 1)}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
