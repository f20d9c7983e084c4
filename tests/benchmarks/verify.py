"""What verifying costs: time and peak memory of ``tidemark verify`` at two sizes of the demo's year, as JSON.

    python -m tests.benchmarks.verify --orders 10000 --orders 155848

Memory must not grow with the number of orders: from 20,000 on it stays where it is. The yardstick of the time is PostgreSQL reading the
same events once (COPY to nowhere).
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg

from deploy.servers.provide import Servers, provide

EVENTS = "SELECT stream, version, envelope FROM events"


def measure(orders: int) -> dict[str, Any]:
    with provide() as servers:
        _tidemark(servers, "demo", "--orders", str(orders))
        yardstick = asyncio.run(_copy(servers))
        found = {name: _verify(servers, *arguments) for name, arguments in VARIANTS.items()}
    return {"orders": orders, "copy_events_s": round(yardstick, 2)} | found


VARIANTS = {
    "all": (),
    "versions": ("--no-content",),
    "summary": ("--projection", "summary"),
    "search": ("--projection", "search"),
    "analytics": ("--projection", "analytics"),
}


def _verify(servers: Servers, *arguments: str) -> dict[str, Any]:
    began = time.monotonic()
    report, usage = _tidemark(servers, "verify", *arguments)
    seconds = time.monotonic() - began
    return {
        "seconds": round(seconds, 1),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "streams": report["streams"],
        "streams_per_s": round(report["streams"] / seconds),
    }


def _tidemark(servers: Servers, *arguments: str) -> tuple[dict[str, Any], resource.struct_rusage]:
    """In a process of its own; this one stays small, because a child's peak begins at its parent's."""
    argv = [sys.executable, "-m", "deploy.cli.main", *arguments, "--output", "json"]
    process = subprocess.Popen(argv, env=os.environ | servers.environ(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    report: dict[str, Any] = json.loads(output)
    assert process.returncode == 0, report
    return report, usage


async def _copy(servers: Servers) -> float:
    connection = await asyncpg.connect(servers.write_db_url)
    began = time.monotonic()
    await connection.copy_from_query(EVENTS, output=Path(os.devnull))
    seconds = time.monotonic() - began
    await connection.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--orders", type=int, action="append")
    print(json.dumps([measure(orders) for orders in parser.parse_args().orders or [10_000]], indent=2))


if __name__ == "__main__":
    main()
