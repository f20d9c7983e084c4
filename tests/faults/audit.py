"""Everything acknowledged against everything that is there: lost, duplicated, unexpected, held, left over."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import aio_pika
import asyncpg
from redis.asyncio import Redis

from deploy.demo.catching_up import wait_until_applied
from deploy.demo.read_stores import open_read_stores
from deploy.demo.shop.comparison import compare
from deploy.demo.shop.store_figures import store_figures
from shared.messages.outcomes import ACCEPTED
from shared.messaging import topology
from shared.read_models import is_of, named
from shared.views import operations
from shared.views.analytics import Keys
from tests.faults.cluster import Cluster
from tests.faults.load import Load, expected_of

RECOVERY_S: Final = 60.0

AT_THE_SALE: Final = ("by region", "by category", "categories")
"""In the names of figures that depend on which commands were decided first: customers and products are under way beside the orders here."""

COMMANDS: Final = "SELECT command_id, outcome ->> 'type' AS type, outcome -> 'data' ->> 'code' AS code FROM commands"
STREAMS: Final = """
SELECT stream, streams.version, count(events.version) AS events, max(events.version) AS last
FROM streams LEFT JOIN events USING (stream) GROUP BY stream
"""
EVENTS: Final = "SELECT count(*) FROM events"
HISTORY: Final = "SELECT count(*) FROM history"
POSITIONS: Final = "SELECT stream, applied FROM positions"
LETTERS: Final = (
    "SELECT origin, stream, version, reason, exception, status FROM letters WHERE status <> 'resolved' LIMIT 5"
)
HELD: Final = "SELECT stream, status, version, seen, reason, exception FROM held LIMIT 5"


async def caught_up(cluster: Cluster, load: Load, *, but: frozenset[str] = frozenset()) -> None:
    """Wait until every projection has applied what was accepted, except the streams ``but``."""
    versions = {stream: version for stream, version in load.versions.items() if stream not in but}
    async with open_read_stores(cluster.servers, cluster.query_url) as stores:
        await wait_until_applied(stores.all, versions, lambda *_: None, no_progress_timeout_s=RECOVERY_S)


async def differences(cluster: Cluster, load: Load, *, but: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Empty when all is well. ``but``: streams that a test has broken on purpose."""
    began = time.monotonic()
    while left := await _left_over(cluster, but):
        if set(left) - {"outbox", "ready"} or time.monotonic() - began > RECOVERY_S:
            break
        await asyncio.sleep(0.2)
    found: dict[str, Any] = dict(left)
    found |= await _write_side(cluster, load)
    found |= await _read_side(cluster, load, but)
    if died := cluster.died():
        found["died"] = died
    if load.repeated:
        found["outcomes that came twice"] = load.repeated[:5]
    return {name: value for name, value in found.items() if value}


async def figures(cluster: Cluster, load: Load, orders: int) -> list[str]:
    """The lines of the demo's report that are not equal, and refusals that should not have been or have not been."""
    expected = expected_of(orders)
    async with open_read_stores(cluster.servers, cluster.query_url) as stores:
        found = await store_figures(stores)
    lines = [line for line in compare(expected.figures, found) if not any(one in line.name for one in AT_THE_SALE)]
    unequal = [str(line) for line in lines if not line.equal]
    refused = [outcome for outcome in load.outcomes.values() if not outcome.accepted]
    if len(refused) != expected.refused or any(outcome.code != "validation-failed" for outcome in refused):
        unequal.append(f"refused {len(refused)}, not {expected.refused}: {refused[:3]}")
    return unequal


async def _write_side(cluster: Cluster, load: Load) -> dict[str, Any]:
    connection = await asyncpg.connect(cluster.servers.write_db_url)
    commands = {row["command_id"]: row for row in await connection.fetch(COMMANDS)}
    streams = {row["stream"]: row for row in await connection.fetch(STREAMS)}
    await connection.close()
    answered = {id_: outcome.accepted for id_, outcome in load.outcomes.items()}
    kept = {id_: row["type"] == ACCEPTED for id_, row in commands.items()}
    return {
        "commands without outcome": load.total - len(load.outcomes),
        "answered otherwise than kept": sorted(set(answered.items()) ^ set(kept.items()))[:5],
        "streams with holes": [
            name for name, row in streams.items() if not row["version"] == row["events"] == row["last"]
        ][:5],
    }


async def _read_side(cluster: Cluster, load: Load, but: frozenset[str]) -> dict[str, Any]:
    servers = cluster.servers
    connection = await asyncpg.connect(servers.write_db_url)
    truth = {row["stream"]: row["version"] for row in await connection.fetch(STREAMS) if row["stream"] not in but}
    await connection.close()
    found: dict[str, Any] = {}
    accepted = {stream: version for stream, version in load.versions.items() if stream not in but}
    found["accepted and not in the event store"] = _unlike(accepted, truth)
    for name, url in (("summary", servers.stores["summary"]), ("search", servers.stores["search"])):
        connection = await asyncpg.connect(url, server_settings={"search_path": name})
        positions = {row["stream"]: row["applied"] for row in await connection.fetch(POSITIONS)}
        found[f"{name} against the event store"] = _unlike(truth, positions, but)
        if name == "summary" and not but:
            written = await connection.fetchval(HISTORY)
            found["history against events"] = None if written == sum(truth.values()) else (written, sum(truth.values()))
        await connection.close()
    async with Redis.from_url(servers.stores["analytics"], decode_responses=True) as redis:
        raw: Any = await redis.hgetall(Keys().positions)
    known = {name: version for name, version in truth.items() if is_of(named("analytics").kinds, name)}
    found["analytics against the event store"] = _unlike(known, {name: int(value) for name, value in raw.items()}, but)
    return found


async def _left_over(cluster: Cluster, but: frozenset[str]) -> dict[str, Any]:
    servers = cluster.servers
    found: dict[str, Any] = {}
    connection = await asyncpg.connect(servers.write_db_url)
    found["outbox"] = await connection.fetchval("SELECT count(*) FROM outbox")
    await connection.close()
    for name, url in (("summary", servers.stores["summary"]), ("search", servers.stores["search"])):
        connection = await asyncpg.connect(url, server_settings={"search_path": name})
        rows = [dict(row) for row in await connection.fetch(HELD) if row["stream"] not in but]
        found["ready" if all(row["status"] == "gap" for row in rows) else f"held in {name}"] = rows
        await connection.close()
    async with Redis.from_url(servers.stores["analytics"], decode_responses=True) as redis:
        held: Any = await redis.hgetall(Keys().held)
    found["held in analytics"] = {stream: hold for stream, hold in held.items() if stream not in but}
    depths = await queue_depths(servers.rabbitmq_url)
    found["dead letters"] = {
        name: depth for name, depth in depths.items() if name.endswith(".dead") and depth and not but
    }
    connection = await asyncpg.connect(servers.operations_db_url, server_settings={"search_path": operations.SCHEMA})
    letters = [dict(row) for row in await connection.fetch(LETTERS) if row["stream"] not in but]
    await connection.close()
    found["letters"] = letters
    found["ready"] = found.get("ready") or {
        name: depth for name, depth in depths.items() if not name.endswith(".dead") and depth > 5
    }
    return {name: value for name, value in found.items() if value}


async def queue_depths(rabbitmq_url: str) -> dict[str, int]:
    async with await aio_pika.connect(rabbitmq_url, timeout=10) as connection:
        channel = await connection.channel()
        found = {}
        for queue in topology.declarations(lanes=4).queues:
            declared = await channel.declare_queue(queue.name, passive=True)
            found[queue.name] = declared.declaration_result.message_count or 0
    return found


def _unlike(expected: Mapping[str, int], found: Mapping[str, int], but: frozenset[str] = frozenset()) -> list[Any]:
    names = {name for name, _ in set(expected.items()) ^ set(found.items())} - but
    return [(name, expected.get(name), found.get(name)) for name in sorted(names)[:5]]
