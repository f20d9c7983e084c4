"""How long an SRE waits with 100,000 dead letters, and how fast they are replayed: ``python -m tests.benchmarks.dead_letters``.

One JSON object on stdout. The projection is played by this process: what is measured is the dead-letter worker, not a read store.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from typing import Any

import asyncpg

from deploy.local.servers import provide
from deploy.migrate import declare
from projectors.dead_letters.migrations import migrate
from projectors.dead_letters.replay import Timing
from shared.contracts.control import Selection
from shared.settings import Settings
from shared.views import operations_queries as queries
from shared.views.operations import SCHEMA
from tests.integration.dead_letters.house import House

FILL = """
WITH new AS (
    INSERT INTO letters (origin, identity, stream, version, type, reason, exception, fingerprint, attempts, first_failed_at,
        last_failed_at, seen, routing_key, content_type, size)
    SELECT 'summary', int8send(n), 'orders/b' || n, 1,
        'orders.order-' || (array['placed', 'paid', 'cancelled'])[n % 3 + 1], 'projection-failed',
        'ValueError: ' || repeat('cannot fold this order ', 5) || n, 'ValueError|projection.py:fold|cause ' || n % 40, 4,
        now() - n * interval '1 second', now() - n * interval '1 second', 3, 'summary', 'application/cloudevents+json', 900
    FROM generate_series(1, $1::int) n RETURNING id
)
INSERT INTO payloads SELECT id, convert_to(repeat('{"data": 1}', 80), 'UTF8'), '{}', repeat('  File "x.py", line 1' || chr(10), 40) FROM new
"""
SET_IDENTITY = "UPDATE letters SET identity = $2 WHERE id = $1"
ROUNDS = 15


async def reads(db: asyncpg.Connection) -> dict[str, float]:
    everything, by_text = queries.parameters(Selection()), queries.parameters(Selection(text="order 77"))
    one_stream = queries.parameters(Selection(stream="orders/b4711"))
    one_group = queries.parameters(Selection(fingerprint="ValueError|projection.py:fold|cause 7"))
    nowhere = queries.parameters(Selection(text="no such words"))
    asked: dict[str, tuple[str, tuple[Any, ...]]] = {
        "groups": (queries.GROUPS, (*everything, 100)),
        "groups_by_text": (queries.GROUPS, (*by_text, 100)),
        "list": (queries.LIVE_LETTERS, (*everything, None, 0, 50)),
        "list_all": (queries.LETTERS, (*everything, None, 0, 50, None)),
        "list_one_stream": (queries.LIVE_LETTERS, (*one_stream, None, 0, 50)),
        "list_one_group": (queries.LIVE_LETTERS, (*one_group, None, 0, 50)),
        "list_by_text": (queries.LIVE_LETTERS, (*by_text, None, 0, 50)),
        "list_nothing": (queries.LIVE_LETTERS, (*nowhere, None, 0, 50)),
        "count": (queries.COUNT_LIVE, everything),
    }
    found = {}
    for name, (statement, arguments) in asked.items():
        times = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            await db.fetch(statement, *arguments)
            times.append((time.perf_counter() - started) * 1000)
        found[f"{name}_ms"] = round(statistics.median(times), 1)
        found[f"{name}_worst_ms"] = round(max(times), 1)
    return found


async def replay(house: House, db: asyncpg.Connection, letters: int) -> dict[str, float]:
    from projectors.dead_letters.letter import event_identity

    rows = await db.fetch("SELECT id, stream FROM letters WHERE status = 'dead' AND origin = 'summary'")
    await db.executemany(SET_IDENTITY, [(row["id"], event_identity(row["stream"], 1)) for row in rows])
    house.held = {(row["stream"], 1): 4 for row in rows}
    await house.play()
    await house.start(timing=Timing())
    await asyncio.sleep(1)
    started = time.perf_counter()
    answer = await house.ask("replay", selection={"everything": True}, reason="benchmark")
    frozen = time.perf_counter() - started
    job = await house.job(answer["job_id"], "completed", 600)
    took = time.perf_counter() - started
    return {
        "replayed": job["succeeded"],
        "freeze_s": round(frozen, 2),
        "replay_s": round(took, 2),
        "replayed_per_s": round(letters / took),
    }


async def ingest(house: House, db: asyncpg.Connection, letters: int) -> dict[str, float]:
    for start in range(0, letters, 200):
        await asyncio.gather(*(house.die(f"orders/i{n}") for n in range(start, min(start + 200, letters))))
    started = time.perf_counter()
    await house.start(timing=Timing())
    await house.statuses(letters, dead=letters)
    return {"ingested_per_s": round(letters / (time.perf_counter() - started))}


async def measure(settings: Settings, letters: int) -> dict[str, float]:
    await declare(settings.rabbitmq_url, settings.lanes)
    await migrate(settings.operations_db_url)
    db = await asyncpg.connect(
        settings.operations_db_url,
        server_settings={"search_path": f"{SCHEMA}, public", "jit": "off", "plan_cache_mode": "force_custom_plan"},
    )
    if await db.fetchval("SELECT EXISTS (SELECT FROM letters)"):
        raise SystemExit("this needs an operations database without letters: it fills, and empties, its own")
    found: dict[str, float] = {"letters": letters}
    house = House(settings, db)
    try:
        found |= await ingest(house, db, 10_000)
        await house.workers.pop().kill()
        await db.execute("DELETE FROM payloads; DELETE FROM letter_failures; DELETE FROM letters")
        await db.execute(FILL, letters)
        found |= {f"fresh_{name}": value for name, value in (await reads(db)).items() if not name.endswith("worst_ms")}
        await db.execute("VACUUM ANALYZE letters")
        found |= await reads(db)
        found |= await replay(house, db, letters)
    finally:
        await house.close()
        await db.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--letters", type=int, default=100_000)
    arguments = parser.parse_args()
    with provide() as servers:
        os.environ.update(servers.environ())
        print(json.dumps(asyncio.run(measure(Settings(), arguments.letters)), indent=2))


if __name__ == "__main__":
    main()
