"""``python -m tests.benchmarks.rebuild``: every event of the demo's year into a new generation of each projection, as one JSON document.

    event store, filled once ──▶ for each projection: rebuild, from the order until it is ready ──▶ events a second, CPU by process
                                        └──▶ the same rows out of the new generation and in again by COPY, indexes and all: the yardstick

One projection at a time, and no live events: what is measured is how fast history goes. Redis has no COPY; its yardstick is the same
keys by DUMP and RESTORE, pipelined. Empties stores, so it runs on servers that it has started itself and on no others.
"""

import argparse
import io
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import asyncpg
import psutil
import uvloop
from redis.asyncio import Redis

from command_service.handling import Handler
from command_service.intake import Command, read
from deploy.demo.demo import settings_for
from deploy.demo.source import RetailYear
from deploy.deployables import program
from deploy.local import leftovers
from deploy.local.servers import Servers, provide
from deploy.migrate import migrate
from deploy.processes import cost, family_cost
from deploy.supervisor import Supervisor
from projectors.migrations import migrate as migrate_projection
from shared import topology
from shared.contracts.control import Drop, Rebuild
from shared.views.analytics import Keys
from shared.views.generations import Generation, generation_name
from tests.e2e.bus import bus_of
from tests.e2e.generations import done, until_ready

BATCH: Final = 500
READY_WITHIN_S: Final = 240.0
TABLES: Final = {
    "summary": ("positions", "orders", "history", "customers", "products", "price_history"),
    "search": ("positions", "orders", "customers", "products"),
}
COLUMNS: Final = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = $1 AND table_name = $2 AND is_generated = 'NEVER' ORDER BY ordinal_position
"""
LONG_AGO: Final = "UPDATE streams SET updated_at = now() - interval '1 day'"
UP_TO_DATE: Final = """
INSERT INTO progress (lane, as_of, events_applied, updated_at) SELECT n, now() - interval '1 hour', 0, now()
FROM generate_series(0, 3) AS n ON CONFLICT DO NOTHING
"""


async def fill(servers: Servers, orders: int | None) -> int:
    """The event store with the year in it, decided as ever, and nothing to be relayed. Returns the number of events."""
    handler = Handler(servers.write_db_url)
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
    for name, url in (("summary", servers.summary_db_url), ("search", servers.search_db_url)):
        connection = await asyncpg.connect(url, server_settings={"search_path": name})
        await connection.execute(UP_TO_DATE)
        await connection.close()
    async with Redis.from_url(servers.analytics_redis_url) as redis:
        for lane in range(4):
            await redis.hset(Keys().progress, f"{lane}:as_of", "2100-01-01T00:00:00.000000+00:00")


async def rebuild(servers: Servers, projection: str) -> dict[str, Any]:
    async with Supervisor(output=None) as supervisor, bus_of(servers.rabbitmq_url) as bus:
        environment = dict(os.environ) | {"TIDEMARK_LOG_LEVEL": "WARNING"}
        await supervisor.start([program(name, servers, environment) for name in ("relay", projection)])
        pids = {name: supervisor.pid(name) for name in ("relay", projection)}
        before, machine = _spent(servers, pids), psutil.cpu_times()
        began = time.monotonic()
        who = {"actor": "a benchmark", "reason": "to measure it"}
        await done(bus, Rebuild(projection=projection, generation=2, **who))
        ready: Generation = await until_ready(servers, projection, 2, within_s=READY_WITHIN_S)
        seconds = time.monotonic() - began
        after, machine_after = _spent(servers, pids), psutil.cpu_times()
        peaks = {name: cost(pid).peak_mib for name, pid in pids.items()}
        yardstick = await (copy_keys if projection == "analytics" else copy_tables)(servers, projection)
        await done(bus, Drop(projection=projection, generation=2, **who))
    busy = sum(machine_after[:3]) - sum(machine[:3]) + machine_after.softirq - machine.softirq
    return {
        "events": ready.scanned,
        "seconds": round(seconds, 2),
        "events_a_second": round(ready.scanned / seconds),
        "cpu_seconds": {name: round(after[name] - before[name], 2) for name in after} | {"machine": round(busy, 2)},
        "peak_mib": peaks,
        "yardstick": yardstick | {"events_a_second": round(ready.scanned / yardstick["seconds"])},
        "of_yardstick": round(yardstick["seconds"] / seconds, 3),
    }


async def copy_tables(servers: Servers, projection: str) -> dict[str, Any]:
    """The rows of the new generation into a third one that is migrated and empty."""
    url = servers.summary_db_url if projection == "summary" else servers.search_db_url
    source, target = generation_name(projection, 2), f"{projection}_copied"
    await migrate_projection(projection, url, schema=target)
    connection = await asyncpg.connect(url)
    rows, seconds = 0, 0.0
    for table in TABLES[projection]:
        columns = [row[0] for row in await connection.fetch(COLUMNS, source, table)]
        data = io.BytesIO()
        await connection.copy_from_table(table, schema_name=source, columns=columns, output=data, format="binary")
        data.seek(0)
        began = time.monotonic()
        status = await connection.copy_to_table(
            table, schema_name=target, columns=columns, source=data, format="binary"
        )
        seconds += time.monotonic() - began
        rows += int(status.split()[-1])
    await connection.execute(f"DROP SCHEMA {target} CASCADE")
    await connection.close()
    return {"what": "COPY, binary, with all indexes", "rows": rows, "seconds": round(seconds, 2)}


async def copy_keys(servers: Servers, projection: str) -> dict[str, Any]:
    source, target = f"{generation_name(projection, 2)}:", f"{projection}_copied:"
    async with Redis.from_url(servers.analytics_redis_url) as redis:
        keys = [key async for key in redis.scan_iter(f"{source}*", count=1000)]
        dumped = [(key, await redis.dump(key)) for key in keys]
        began = time.monotonic()
        for start in range(0, len(dumped), 100):
            async with redis.pipeline(transaction=False) as pipeline:
                for key, value in dumped[start : start + 100]:
                    pipeline.restore(key.decode().replace(source, target), 0, value or b"", replace=True)
                await pipeline.execute()
        seconds = time.monotonic() - began
        for key in keys:
            await redis.unlink(key.decode().replace(source, target))
    return {"what": "RESTORE of every key", "rows": len(keys), "seconds": round(seconds, 2)}


def _spent(servers: Servers, pids: dict[str, int]) -> dict[str, float]:
    assert servers.private is not None
    records = servers.private.root.glob(f"*/{leftovers.PROCESS}")
    known = {record.parent.name: leftovers.read(record)["pid"] for record in records}
    return {name: cost(pid).cpu_s for name, pid in pids.items()} | {
        name: family_cost(pid).cpu_s for name, pid in known.items()
    }


async def measure(servers: Servers, orders: int | None, projections: list[str]) -> dict[str, Any]:
    await migrate(settings_for(servers))
    began = time.monotonic()
    events = await fill(servers, orders)
    print(f"{events} events in {time.monotonic() - began:.1f} s", file=sys.stderr)
    await believe_current(servers)
    found: dict[str, Any] = {}
    for name in projections:
        found[name] = await rebuild(servers, name)
        print(name, json.dumps(found[name]), file=sys.stderr)
    return {
        "events": events,
        "machine": {"cores": psutil.cpu_count(), "python": platform.python_version()},
        "projections": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="History into a new generation of each projection; JSON on stdout.")
    parser.add_argument("--orders", type=int, default=None, help="only the first so many baskets")
    parser.add_argument("--projection", action="append", choices=topology.PROJECTORS, help="only this one")
    arguments = parser.parse_args()
    os.environ["TIDEMARK_SERVERS"] = "private"
    with provide() as servers:
        report = uvloop.run(measure(servers, arguments.orders, arguments.projection or list(topology.PROJECTORS)))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
