"""``python -m tests.benchmarks.process_rate``: processes finished a second, beside the orders a second of the same system, as JSON.

Orders: from the first command sent until the last one is in the summary. Processes: appointment reminders of bookings that begin within
the lead time. Each takes three commands of the sender (request, confirm, complete), a timer, a command of the process and its outcome,
and is finished by an event: from the first command sent until the last process is done.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import uvloop
from pydantic_core import to_json

from deploy.demo.system import settings_for
from deploy.run.deployables import program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.sending.batches import CommandMessage
from deploy.sending.sender import CommandSender
from deploy.servers.provide import Servers, provide
from shared.processes import folder_of
from tests.benchmarks.measuring import Costs, server_pids

DEPLOYABLES: Final = ("worker", "relay", "summary", "processes")
MANAGER: Final = "appointment-reminders"
WINDOW: Final = 2000
DEADLINE_S: Final = 240.0
POLL_S: Final = 0.05

ORDERS_SEEN: Final = "SELECT count(*) FROM summary.orders WHERE order_id LIKE $1 || '%'"
REMINDED: Final = "SELECT count(*) FROM processes WHERE waiting_for = '{end}' AND id LIKE $1 || '%'"
DONE: Final = "SELECT count(*) FROM processes WHERE status = 'done' AND result = 'reminded' AND id LIKE $1 || '%'"


def command(type_: str, subject: str, data: dict[str, Any]) -> CommandMessage:
    id_ = f"{type_}:{subject}"
    envelope = {"specversion": "1.0", "id": id_, "source": "bench", "type": type_, "subject": subject, "data": data}
    return CommandMessage(id_, type_, to_json(envelope))


def orders(prefix: str, count: int) -> Iterator[CommandMessage]:
    for number in range(count):
        key = f"{prefix}{number}"
        line = {"product_id": f"p-{number % 50}", "quantity": 1, "amount": 100}
        data = {"order_id": key, "customer_id": f"c-{number % 500}", "currency": "EUR", "lines": [line]}
        yield command("orders.place-order", key, data)


def bookings(prefix: str, count: int) -> Iterator[CommandMessage]:
    """Requested and confirmed, each of a doctor of its own, within the next hours."""
    starts_at = (datetime.now(UTC) + timedelta(hours=20)).replace(minute=0, second=0, microsecond=0)
    for number in range(count):
        key = f"{prefix}{number}"
        data = {
            "booking_id": key,
            "patient_id": key,
            "doctor_id": key,
            "starts_at": starts_at.isoformat(),
            "minutes": 5,
        }
        yield command("bookings.request-booking", key, data)
        yield command("bookings.confirm-booking", key, {})


def completions(prefix: str, count: int) -> Iterator[CommandMessage]:
    for number in range(count):
        yield command("bookings.complete-booking", f"{prefix}{number}", {})


class Bench:
    def __init__(self, rabbitmq_url: str, processes: asyncpg.Connection, summary: asyncpg.Connection) -> None:
        self._url = rabbitmq_url
        self._processes = processes
        self._summary = summary

    async def orders(self, prefix: str, count: int) -> float:
        """Seconds until all of them are in the summary."""
        began = time.monotonic()
        await asyncio.gather(self._send(orders(prefix, count)), _until(count, self._summary, ORDERS_SEEN, prefix))
        return time.monotonic() - began

    async def processes(self, prefix: str, count: int) -> float:
        """Seconds until all of them are finished."""
        began = time.monotonic()
        await asyncio.gather(self._send(bookings(prefix, count)), _until(count, self._processes, REMINDED, prefix))
        await asyncio.gather(self._send(completions(prefix, count)), _until(count, self._processes, DONE, prefix))
        return time.monotonic() - began

    async def _send(self, commands: Iterator[CommandMessage]) -> None:
        sender = CommandSender(self._url, window=WINDOW, name="bench")
        await sender.send(commands)
        if sender.tally.rejected:
            raise RuntimeError(f"commands were rejected: {dict(sender.tally.rejected)}")


async def _until(count: int, connection: asyncpg.Connection, statement: str, prefix: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await connection.fetchval(statement, prefix) < count:  # noqa: ASYNC110 - asked of a database
            await asyncio.sleep(POLL_S)


async def measure(servers: Servers, count: int) -> dict[str, Any]:
    await migrate(settings_for(servers))
    processes = await asyncpg.connect(
        servers.processes_db_url, server_settings={"search_path": folder_of(MANAGER)}, command_timeout=60
    )
    summary = await asyncpg.connect(servers.stores["summary"], command_timeout=60)
    bench = Bench(servers.rabbitmq_url, processes, summary)
    environment = dict(os.environ) | {"TIDEMARK_LOG_LEVEL": "WARNING"}
    async with Supervisor(output=None) as supervisor:
        await supervisor.start(program(name, servers, environment) for name in DEPLOYABLES)
        await bench.orders("warm-o-", 300)
        await bench.processes("warm-b-", 100)
        found: dict[str, Any] = {}
        steps: dict[str, tuple[Callable[[str, int], Coroutine[Any, Any, float]], int]] = {
            "orders": (bench.orders, count * 2),
            "processes": (bench.processes, count),
        }
        for name, (step, size) in steps.items():
            cost = Costs(supervisor, DEPLOYABLES, server_pids(servers))
            seconds = await step(f"{name}-", size)
            found[name] = {
                "count": size,
                "seconds": round(seconds, 2),
                "per_second": round(size / seconds, 1),
                "cpu_seconds": {role: one.cpu_s for role, one in cost.spent().items()},
            }
    found["ratio"] = round(found["processes"]["per_second"] / found["orders"]["per_second"], 3)
    await processes.close()
    await summary.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=3000, help="processes; orders are twice as many")
    arguments = parser.parse_args()
    with provide() as servers:
        report = uvloop.run(measure(servers, arguments.count))
    json.dump(report, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
