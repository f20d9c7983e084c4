"""``python -m tests.benchmarks.process_timers``: how late timers fire while a million others wait, and what that costs in memory, as JSON.

Timers fire in this process, by the code of the deployable, on a PostgreSQL of its own. Lateness is the database's: from the time at which
a timer is due to the time of the transaction that decides it. First without the waiting ones, then with them, on the same machine.
"""

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from typing import Any, Final

import asyncpg
import psutil
import uvloop

from deploy.servers.provide import Servers, provide
from projectors.process_runtime.migrations import migrate
from projectors.process_runtime.store import ProcessStore
from projectors.process_runtime.timers import Timers
from projectors.stores.port import StoreUnavailableError
from shared.processes import folder_of
from shared.runtime.outage import OutageRetry
from shared.runtime.process import Stopped
from tests.process_manager import NAME, PARCEL

SPREAD_S: Final = 30.0
"""The due ones are spread over this time."""
GRACE_S: Final = 60.0
SETTLE_S: Final = 10.0
"""After a million rows were written, the server is still busy with them."""

FILL: Final = """
INSERT INTO processes (id, status, version, state_version, state, waiting_for, received, decided, started_at)
SELECT $1 || n, 'running', 1, 1, jsonb_build_object('order_id', $1 || n), '{payment}', 1, 1, now() FROM generate_series(1, $2::integer) n
"""
SET: Final = """
INSERT INTO timers (process, name, token, due_at)
SELECT $1 || n, 'payment', 'payment@1.1', clock_timestamp() + $3::float8 * interval '1 second' + n * $4::float8 / $2 * interval '1 second'
FROM generate_series(1, $2::integer) n
"""
PLAN: Final = "CREATE TABLE planned AS SELECT process, due_at FROM timers WHERE process LIKE $1 || '%'"
LATENESS: Final = """
SELECT extract(epoch FROM inputs.received_at - planned.due_at)::float8 AS late
FROM planned LEFT JOIN inputs ON inputs.process = planned.process AND inputs.kind = 'timer' ORDER BY 1
"""
LEFT: Final = "SELECT count(*) FROM timers WHERE NOT held AND due_at < (SELECT clock_timestamp() + interval '1 hour')"


async def lateness(servers: Servers, db: asyncpg.Connection, prefix: str, due: int, spread_s: float) -> dict[str, Any]:
    """Fire ``due`` timers that become due within ``spread_s``."""
    await db.execute(FILL, prefix, due)
    await db.execute(SET, prefix, due, 2.0, spread_s)
    await db.execute("DROP TABLE IF EXISTS planned")
    await db.execute(PLAN.replace("$1", f"'{prefix}'"))
    stopping = asyncio.Event()
    store = ProcessStore(PARCEL, servers.processes_db_url)
    timers = Timers(
        store,
        OutageRetry("the store", lambda error: isinstance(error, StoreUnavailableError), stopping=stopping),
    )
    began, cpu = time.monotonic(), time.process_time()
    running = asyncio.create_task(timers.run(stopping))
    try:
        async with asyncio.timeout(spread_s + GRACE_S):
            while await db.fetchval(LEFT):  # noqa: ASYNC110 - asked of a database
                await asyncio.sleep(0.5)
    finally:
        stopping.set()
        with suppress(Stopped):
            await running
    rows = await db.fetch(LATENESS)
    late = [row["late"] for row in rows if row["late"] is not None]
    memory = psutil.Process().memory_info().rss / 2**20
    await store.close()
    return {
        "due": due,
        "fired": len(late),
        "spread_s": spread_s,
        "seconds": round(time.monotonic() - began, 2),
        "late_s": {
            "p50": round(late[len(late) // 2], 3),
            "p99": round(late[int(len(late) * 0.99)], 3),
            "max": round(late[-1], 3),
        },
        "rss_mib": round(memory, 1),
        "cpu_s": round(time.process_time() - cpu, 2),
    }


async def measure(servers: Servers, waiting: int, due: int) -> dict[str, Any]:
    await migrate(NAME, servers.processes_db_url)
    db = await asyncpg.connect(
        servers.processes_db_url, server_settings={"search_path": folder_of(NAME)}, command_timeout=600
    )
    await lateness(servers, db, "warm-", 200, 1.0)
    found: dict[str, Any] = {"none_waiting": await lateness(servers, db, "few-", due, SPREAD_S)}
    began = time.monotonic()
    await db.execute(FILL, "waiting-", waiting)
    await db.execute(SET, "waiting-", waiting, 86400.0, 86400.0)
    for table in ("processes", "timers"):
        await db.execute(f"VACUUM ANALYZE {table}")
    await asyncio.sleep(SETTLE_S)
    found |= {"waiting": waiting, "fill_s": round(time.monotonic() - began, 1)}
    found["with_waiting"] = await lateness(servers, db, "many-", due, SPREAD_S)
    found["burst"] = await lateness(servers, db, "burst-", due, 0.001)
    found["rss_ratio"] = round(found["with_waiting"]["rss_mib"] / found["none_waiting"]["rss_mib"], 3)
    await db.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--waiting", type=int, default=1_000_000, help="timers that are due tomorrow")
    parser.add_argument("--due", type=int, default=3000, help=f"timers that are due within {SPREAD_S:.0f} seconds")
    arguments = parser.parse_args()
    with provide() as servers:
        report = uvloop.run(measure(servers, arguments.waiting, arguments.due))
    json.dump(report, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
