"""``python -m tests.benchmarks.rebuild``: every event of the demo's year into new generations of each projection, as one JSON document.

    event store, filled once ──▶ alone: generation 2 of each projection, with nothing beside it; it is the one that is read from then on
                             └─▶ beside: what live orders and dashboards cost by themselves; then generation 3 of each beside them
    after each rebuild: the same rows by COPY, in the same circumstances (``copies``): the yardstick

Events a second are from the order to rebuild until it is ready. Live orders and dashboards are those of ``tidemark drill rebuild``: each
order is read back from all three stores with its token. Empties stores, so it runs on servers that it has started itself and on no others.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import asyncpg
import psutil
import uvloop
from redis.asyncio import Redis

from command_service.handling.handler import Handler
from command_service.handling.parsing import Command, read
from deploy.demo.shop.source import RetailYear
from deploy.demo.system import settings_for
from deploy.drills.rebuild.dashboards import MAX_ORDERS, Dashboards
from deploy.drills.rebuild.drill import DEPLOYABLES, SEARCH_WORDS, running_system
from deploy.drills.rebuild.live_orders import LiveOrders
from deploy.drills.rebuild.report import percentiles
from deploy.run.deployables import program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.servers.provide import Servers, provide
from shared.messages.control import Activate, Drop, Rebuild
from shared.messaging import topology
from shared.views.analytics import Keys
from shared.views.generations import FIRST, Generation
from tests.benchmarks.copies import copy
from tests.benchmarks.measuring import Costs, server_pids
from tests.e2e.bus import Bus, bus_of
from tests.e2e.generations import done, until_ready

BATCH: Final = 500
READY_WITHIN_S: Final = 240.0
WITHOUT_REBUILD_S: Final = 15.0
SETTLE_S: Final = 3.0
WHO: Final = {"actor": "a benchmark", "reason": "to measure it"}
LONG_AGO: Final = "UPDATE streams SET updated_at = now() - interval '1 day'"
BASKETS: Final = "SELECT substr(stream, 8) FROM streams WHERE stream LIKE 'orders/%' ORDER BY stream LIMIT $1"
UP_TO_DATE: Final = """
INSERT INTO progress (lane, as_of, events_applied, updated_at) SELECT n, now() - interval '1 hour', 0, now()
FROM generate_series(0, 3) AS n ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class Running:
    """Deployables on ``servers``, and the bus to give orders by."""

    servers: Servers
    supervisor: Supervisor
    bus: Bus
    roles: Sequence[str]

    def begin(self) -> Costs:
        return Costs(self.supervisor, self.roles, server_pids(self.servers))


async def fill(servers: Servers, orders: int | None) -> int:
    """The event store with the year in it, decided as ever, and nothing to be relayed. Returns the number of events."""
    handler = Handler(servers.write_db_url, servers.keys_db_url)
    for batch in _batches(orders):
        await handler.handle(batch)
    await handler.close()
    connection = await asyncpg.connect(servers.write_db_url)
    await connection.execute("TRUNCATE outbox")
    await connection.execute(LONG_AGO)
    await connection.execute("VACUUM ANALYZE")
    count = int(await connection.fetchval("SELECT count(*) FROM events"))
    await connection.close()
    return count


def _batches(orders: int | None) -> Iterator[list[Command]]:
    commands = RetailYear(orders).commands()
    while messages := list(islice(commands, BATCH)):
        parts = [part for message in messages for part in read(message.body, None).parts]
        yield [part for part in parts if isinstance(part, Command)]


async def believe_current(servers: Servers) -> None:
    """The first generations stay empty and take themselves for up to date: nothing is sent to them meanwhile."""
    for name, url in (("summary", servers.stores["summary"]), ("search", servers.stores["search"])):
        connection = await asyncpg.connect(url, server_settings={"search_path": name})
        await connection.execute(UP_TO_DATE)
        await connection.close()
    async with Redis.from_url(servers.stores["analytics"]) as redis:
        for lane in range(4):
            await redis.hset(Keys().progress, f"{lane}:as_of", "2100-01-01T00:00:00.000000+00:00")


async def rebuild(system: Running, projection: str, number: int) -> dict[str, Any]:
    """The generation of that number, and its yardstick."""
    costs = system.begin()
    began = time.monotonic()
    await done(system.bus, Rebuild(projection=projection, generation=number, **WHO))
    ready: Generation = await until_ready(system.servers, projection, number, within_s=READY_WITHIN_S)
    seconds = time.monotonic() - began
    spent, machine = costs.spent(), costs.machine()
    yardstick = await copy(system.servers, projection, number)
    return {
        "events": ready.scanned,
        "seconds": round(seconds, 2),
        "events_a_second": round(ready.scanned / seconds),
        "cpu_seconds": {name: one.cpu_s for name, one in spent.items()},
        "machine": machine,
        "peak_mib": {name: spent[name].peak_mib for name in system.roles},
        "yardstick": yardstick | {"events_a_second": round(ready.scanned / yardstick["seconds"])},
        "of_yardstick": round(yardstick["seconds"] / seconds, 3),
    }


async def alone(servers: Servers, projection: str) -> dict[str, Any]:
    """Generation 2, which is the only one afterwards."""
    roles, environment = ("relay", projection), dict(os.environ) | {"TIDEMARK_LOG_LEVEL": "WARNING"}
    async with Supervisor(output=None) as supervisor, bus_of(servers.rabbitmq_url) as bus:
        await supervisor.start([program(role, servers, environment) for role in roles])
        system = Running(servers, supervisor, bus, roles)
        found = await rebuild(system, projection, 2)
        await done(system.bus, Activate(projection=projection, generation=2, **WHO))
        await done(system.bus, Drop(projection=projection, generation=FIRST, **WHO))
    return found


async def beside(servers: Servers, projections: Sequence[str], per_second: float) -> dict[str, Any]:
    """Generation 3 of each, one after the other, while orders arrive and dashboards ask."""
    async with (
        running_system(servers) as (supervisor, commands, queries),
        bus_of(servers.rabbitmq_url) as bus,
    ):
        system = Running(servers, supervisor, bus, DEPLOYABLES)
        live = LiveOrders(commands, queries, per_second)
        dashboards = Dashboards(queries, await _baskets(servers), list(SEARCH_WORDS))
        await dashboards.record_expected()
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(live.run(stopping))
            group.create_task(dashboards.run(stopping))
            await asyncio.sleep(SETTLE_S)
            found: dict[str, Any] = {
                "orders_a_second": per_second,
                "nothing_rebuilt": await _live_only(system, dashboards),
            }
            for name in projections:
                began = time.monotonic()
                found[name] = await rebuild(system, name, 3)
                lags = live.lags_between(name, began, began + found[name]["seconds"])
                found[name]["live_lag_seconds"] = percentiles(lags)
                await done(system.bus, Drop(projection=name, generation=3, **WHO))
                print(f"{name} beside live orders", json.dumps(found[name]), file=sys.stderr)
            stopping.set()
        asked = sum(dashboards.unchanged.values())
        troubles = [f"{trouble.what}: {trouble.why}" for trouble in live.failures + dashboards.failures]
        return found | {"live_orders": live.accepted, "questions": asked, "troubles": troubles}


async def _live_only(system: Running, dashboards: Dashboards) -> dict[str, Any]:
    costs, asked = system.begin(), sum(dashboards.unchanged.values())
    await asyncio.sleep(WITHOUT_REBUILD_S)
    return {
        "seconds": WITHOUT_REBUILD_S,
        "questions": sum(dashboards.unchanged.values()) - asked,
        "cpu_seconds": {name: one.cpu_s for name, one in costs.spent().items()},
        "machine": costs.machine(),
    }


async def _baskets(servers: Servers) -> list[str]:
    connection = await asyncpg.connect(servers.write_db_url)
    rows = await connection.fetch(BASKETS, MAX_ORDERS)
    await connection.close()
    return [row[0] for row in rows]


async def measure(
    servers: Servers, orders: int | None, projections: Sequence[str], per_second: float
) -> dict[str, Any]:
    await migrate(settings_for(servers))
    began = time.monotonic()
    events = await fill(servers, orders)
    print(f"{events} events in {time.monotonic() - began:.1f} s", file=sys.stderr)
    await believe_current(servers)
    found: dict[str, Any] = {}
    for name in topology.PROJECTORS if per_second else projections:  # dashboards ask all of them
        found[name] = await alone(servers, name)
        print(name, json.dumps(found[name]), file=sys.stderr)
    return {
        "events": events,
        "machine": {"cores": psutil.cpu_count(), "python": platform.python_version()},
        "projections": found,
        "beside_live_orders": await beside(servers, projections, per_second) if per_second else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="History into new generations of each projection; JSON on stdout.")
    parser.add_argument("--orders", type=int, default=None, help="only the first so many baskets")
    parser.add_argument("--projection", action="append", choices=topology.PROJECTORS, help="only this one")
    parser.add_argument("--live", type=float, default=10.0, help="live orders a second beside it (default 10; 0: none)")
    arguments = parser.parse_args()
    os.environ["TIDEMARK_SERVERS"] = "private"
    with provide() as servers:
        projections = arguments.projection or list(topology.PROJECTORS)
        report = uvloop.run(measure(servers, arguments.orders, projections, arguments.live))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
