"""``python -m tests.benchmarks.process_rate``: processes finished a second beside the orders a second of the same run, as JSON.

    orders, as `make bench` has them: its processes, real baskets, one command to a message, until the last is in the last store
    the rest is started: telemetry, process managers, payment provider (it answers at once)
    orders in the whole system ──▶ reminders ──▶ fulfilments: from the first command sent until the last process is done

A reminder takes three commands of the sender (request, confirm, complete), one of the process, a timer and an outcome. A fulfilment of
``--lines`` products takes two commands of the sender (place, ship), one of the provider, and of the process two and two for each
product. Commands of senders are alone in their messages, and every read model that reads their events applies them.

``ratio``: processes a second to orders a second; ``cpu_ratio``: the CPU of an order to that of a process, which other work on the machine
hardly moves.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import psutil
import uvloop
from pydantic_core import to_json

from deploy.run.deployables import program
from deploy.run.supervisor import Supervisor
from deploy.servers.accounts.urls import PAYMENT_PROVIDER
from deploy.servers.provide import Servers, provide
from shared.processes import NAMES, folder_of
from tests.benchmarks.end_to_end import write_orders
from tests.benchmarks.measuring import Costs, Orders, send, server_pids
from tests.benchmarks.pipelines import Probe, Tidemark
from tests.benchmarks.yardstick import ROLES
from tests.shop import WITH_ORDERS

REST: Final = ("telemetry", "processes", PAYMENT_PROVIDER)
ENVIRONMENT: Final = {"TIDEMARK_LOG_LEVEL": "WARNING", "TIDEMARK_PAYMENT_DELAY_S": "0"}
PRODUCTS: Final = 500
WARM_UP: Final = 300
DEADLINE_S: Final = 400.0
POLL_S: Final = 0.25

WAITING: Final = "SELECT count(*) FROM processes WHERE waiting_for = $2 AND id LIKE $1 || '%'"
DONE: Final = "SELECT count(*) FROM processes WHERE status = 'done' AND result = $2 AND id LIKE $1 || '%'"

Command = tuple[str, str, Mapping[str, Any]]
"""(type, subject, data)"""


def requests(prefix: str, count: int) -> Iterator[Command]:
    """Bookings requested and confirmed, each of a doctor of its own, within the lead time."""
    starts_at = (datetime.now(UTC) + timedelta(hours=20)).replace(minute=0, second=0, microsecond=0).isoformat()
    for key in (f"{prefix}{number}" for number in range(count)):
        fields = {"booking_id": key, "patient_id": key, "doctor_id": key, "starts_at": starts_at, "minutes": 5}
        yield "bookings.request-booking", key, fields
        yield "bookings.confirm-booking", key, {}


def completions(prefix: str, count: int) -> Iterator[Command]:
    return (("bookings.complete-booking", f"{prefix}{number}", {}) for number in range(count))


def stock() -> Iterator[Command]:
    for product in (f"stocked-{number}" for number in range(PRODUCTS)):
        fields = {"product_id": product, "name": product, "category": "any", "price": 100, "currency": "EUR"}
        yield "catalog.create-product", product, fields
        yield "catalog.receive-stock", product, {"quantity": 1_000_000}


def managed(prefix: str, count: int, lines: int) -> Iterator[Command]:
    for number in range(count):
        key = f"{prefix}{number}"
        bought = [
            {"product_id": f"stocked-{(number + place * 7) % PRODUCTS}", "quantity": 1, "amount": 100}
            for place in range(lines)
        ]
        fields = {"order_id": key, "customer_id": f"c-{number % 500}", "currency": "EUR", "lines": bought}
        yield "orders.place-order", key, fields | {"fulfilment": "managed"}


def shipments(prefix: str, count: int) -> Iterator[Command]:
    return (("orders.ship-order", f"{prefix}{number}", {}) for number in range(count))


class Bench:
    def __init__(self, servers: Servers, folder: Path, probe: Probe, supervisor: Supervisor) -> None:
        self._servers = servers
        self._file = folder / "commands"
        self._probe = probe
        self._supervisor = supervisor

    async def orders(self, orders: Orders, first: int, count: int) -> dict[str, Any]:
        """From the first publication until the last is in the last store."""
        await self._quiet()
        before = {store: await self._probe.applied(store) for store in WITH_ORDERS}
        costs = self._costs()
        report = await send(self._probe, self._servers.rabbitmq_url, orders, first, count, 0)
        async with asyncio.timeout(DEADLINE_S):
            for store in WITH_ORDERS:
                while await self._probe.applied(store) < before[store] + count:  # noqa: ASYNC110 - another process does it
                    await asyncio.sleep(0.005)
        return _found(count, time.monotonic() - report["published"][0], costs)

    async def reminders(self, prefix: str, count: int) -> dict[str, Any]:
        return await self._processes(
            "appointment-reminders",
            [
                (requests(prefix, count), (WAITING, prefix, ["end"])),
                (completions(prefix, count), (DONE, prefix, "reminded")),
            ],
            count,
        )

    async def fulfilments(self, prefix: str, count: int, lines: int) -> dict[str, Any]:
        return await self._processes(
            "fulfilment",
            [
                (managed(prefix, count, lines), (WAITING, prefix, ["shipment"])),
                (shipments(prefix, count), (DONE, prefix, "fulfilled")),
            ],
            count,
        )

    async def publish(self, commands: Iterable[Command]) -> float:
        """One command to a message; when the first was published (``time.monotonic``)."""
        bodies = []
        for type_, subject, data in commands:
            attributes = {"specversion": "1.0", "id": f"{type_}:{subject}", "source": "bench", "type": type_}
            bodies.append(to_json({**attributes, "subject": subject, "data": data}))
        self._file.write_bytes(b"\n".join(bodies))
        report = await send(self._probe, self._servers.rabbitmq_url, Orders(self._file, ()), 0, len(bodies), 0)
        return float(report["published"][0])

    async def _processes(
        self, manager: str, steps: list[tuple[Iterable[Command], tuple[str, str, Any]]], count: int
    ) -> dict[str, Any]:
        await self._quiet()
        connection = await asyncpg.connect(
            self._servers.processes_db_url, server_settings={"search_path": folder_of(manager)}, command_timeout=60
        )
        costs, seconds = self._costs(), 0.0
        for commands, (statement, *arguments) in steps:
            began = await self.publish(commands)
            async with asyncio.timeout(DEADLINE_S):
                while await connection.fetchval(statement, *arguments) < count:  # noqa: ASYNC110 - asked of a database
                    await asyncio.sleep(POLL_S)
            seconds += time.monotonic() - began
        await connection.close()
        return _found(count, seconds, costs)

    def _costs(self) -> Costs:
        running = [name for name in (*ROLES, *REST) if self._supervisor.running(name)]
        return Costs(self._supervisor, running, server_pids(self._servers))

    async def _quiet(self) -> None:
        """Return when the stores have stopped applying: nothing of what came before is measured."""
        last = None
        while (now := [await self._probe.applied(store) for store in WITH_ORDERS]) != last:
            last = now
            await asyncio.sleep(1.0)


def _found(count: int, seconds: float, costs: Costs) -> dict[str, Any]:
    by_process = {name: one.cpu_s for name, one in costs.spent().items()}
    return {
        "count": count,
        "seconds": round(seconds, 2),
        "per_second": round(count / seconds, 1),
        "cpu_ms_each": round(sum(by_process.values()) / count * 1000, 3),
        "cpu_seconds": by_process,
        "machine": costs.machine(),
    }


async def measure(servers: Servers, folder: Path, count: int, lines: int) -> dict[str, Any]:
    pipeline = Tidemark(servers)
    await pipeline.prepare()
    probe = await Probe.open(pipeline)
    orders = write_orders(folder / "orders", WARM_UP + 4 * count)
    environment = dict(os.environ) | ENVIRONMENT
    async with Supervisor(output=None) as supervisor:
        bench = Bench(servers, folder, probe, supervisor)
        await supervisor.start(program(name, servers, environment) for name in ROLES)
        await bench.orders(orders, 0, WARM_UP)
        found = {"orders": await bench.orders(orders, WARM_UP, 2 * count)}
        await supervisor.start(program(name, servers, environment) for name in REST)
        await bench.publish(stock())
        await bench.reminders("warm-b-", 100)
        await bench.fulfilments("warm-f-", 100, lines)
        found["orders_in_the_whole_system"] = await bench.orders(orders, WARM_UP + 2 * count, 2 * count)
        found["appointment-reminders"] = await bench.reminders("b-", count)
        found["fulfilment"] = await bench.fulfilments("f-", count, lines)
    await probe.close()
    yardsticks = ("orders", "orders_in_the_whole_system")
    for name in NAMES:
        one = found[name]
        one["ratio"] = {each: round(one["per_second"] / found[each]["per_second"], 3) for each in yardsticks}
        one["cpu_ratio"] = {each: round(found[each]["cpu_ms_each"] / one["cpu_ms_each"], 3) for each in yardsticks}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=3000, help="processes of each kind; orders are twice as many")
    parser.add_argument("--lines", type=int, default=1, help="products of an order that is fulfilled")
    arguments = parser.parse_args()
    load = [round(each, 2) for each in psutil.getloadavg()]
    with tempfile.TemporaryDirectory() as folder, provide() as servers:
        report = uvloop.run(measure(servers, Path(folder), arguments.count, arguments.lines))
    json.dump({"load_average_before": load, "lines": arguments.lines, **report}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
