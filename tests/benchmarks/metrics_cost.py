"""``python -m tests.benchmarks.metrics_cost``: microseconds of CPU that recording metrics costs an order, and a query, as JSON.

Only the calls themselves, on batches of several sizes; and what a rendering costs. An order is one command, and one event in each of three
projections. It says nothing of the rest of the system: compare it with what an order costs there.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import msgspec
from prometheus_client import generate_latest

from command_service.handling.decision import Outcome
from command_service.handling.parsing import Command, read
from command_service.measuring import commands
from projectors.generations.roles import Role
from projectors.runtime.measuring import count_commit
from projectors.stores.port import Commit
from shared.http.measuring import measured
from shared.observability.families import REGISTRY
from tests import shop

PROJECTIONS: Final = ("summary", "analytics", "search")
BATCHES: Final = (1, 10, 100, 500)
SECONDS: Final = 0.5


def command() -> Command:
    envelope = {
        "specversion": "1.0",
        "id": uuid4().hex,
        "source": "bench",
        "type": "orders.pay-order",
        "subject": "o-1",
    }
    [part] = read(msgspec.json.encode(envelope | {"data": {"amount": 5}}), None).parts
    if not isinstance(part, Command):
        raise TypeError(part)
    return part


def cpu_us(work: Callable[[], object], each: int) -> float:
    """CPU microseconds of one of ``each``, over SECONDS."""
    work()
    done, began, until = 0, time.process_time(), time.monotonic() + SECONDS
    while time.monotonic() < until:
        work()
        done += each
    return (time.process_time() - began) * 1e6 / done


def of_an_order(batch: int) -> dict[str, float]:
    sent = command()
    results = [(sent, Outcome(b"{}", True))] * batch
    now = datetime.now(UTC)
    run = shop.run("orders/o-1", *([shop.placed("o-1")] * batch))
    events = [
        msgspec.structs.replace(event, time=now - timedelta(milliseconds=7 * n)) for n, event in enumerate(run.events)
    ]
    commit = Commit([msgspec.structs.replace(run, events=[event]) for event in events])
    worker = cpu_us(lambda: commands.count(results, 0.01), batch)
    projectors = sum(
        cpu_us(lambda name=name: count_commit(name, Role.ACTIVE, commit, now), batch)  # type: ignore[misc]
        for name in PROJECTIONS
    )
    return {
        "worker_us": round(worker, 2),
        "projectors_us": round(projectors, 2),
        "order_us": round(worker + projectors, 2),
    }


def of_a_query() -> float:
    """What measuring adds to an application that does nothing."""

    async def application(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(_: Any) -> None:
        return None

    async def many(through: bool) -> float:
        began = time.process_time()
        for _ in range(20_000):
            scope = {"type": "http", "path_template": "/orders/{order_id}"}
            if through:
                await measured(application, scope, None, send)
            else:
                await application(scope, None, send)
        return (time.process_time() - began) * 1e6 / 20_000

    return round(asyncio.run(many(True)) - asyncio.run(many(False)), 2)


def main(arguments: list[str]) -> None:
    argparse.ArgumentParser(prog="metrics_cost", description=__doc__).parse_args(arguments)
    report: dict[str, Any] = {f"batches_of_{batch}": of_an_order(batch) for batch in BATCHES}
    report["query_us"] = of_a_query()
    report["rendering_ms"] = round(cpu_us(lambda: generate_latest(REGISTRY), 1) / 1000, 2)
    report["rendering_bytes"] = len(generate_latest(REGISTRY))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
