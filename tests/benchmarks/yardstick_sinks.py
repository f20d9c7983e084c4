"""The yardstick's sinks: each order a row of the same columns as Tidemark's, or the same increments; a position for
each batch.
"""

import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec
from redis.asyncio import Redis

from tests.benchmarks.yardstick import consume, sink_queue

PREFETCH: Final = 25
"""Messages of up to 100 events."""
TAKE: Final = 10

SUMMARY_ORDERS: Final = """
INSERT INTO orders (order_id, customer_id, status, currency, item_count, total, placed_at, updated_at, version, doc)
SELECT id, customer, 'placed', currency, items, total, at, at, 1, doc
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::timestamptz[], $7::json[])
    AS new (id, customer, currency, items, total, at, doc)
"""
SEARCH_ORDERS: Final = """
INSERT INTO orders (order_id, customer_id, status, currency, item_count, total, placed_at, version, unnamed, terms)
SELECT id, customer, 'placed', currency, items, total, at, 1, '{}',
    setweight(to_tsvector('simple', id), 'A') || setweight(to_tsvector('simple', names), 'B')
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::timestamptz[], $7::text[])
    AS new (id, customer, currency, items, total, at, names)
"""
POSITION: Final = """
INSERT INTO progress (lane, events_applied, updated_at) VALUES (0, $1, now())
ON CONFLICT (lane) DO UPDATE SET events_applied = progress.events_applied + $1, updated_at = now()
"""
INCREMENT: Final = """
local batch = cmsgpack.unpack(ARGV[1])
for key, members in pairs(batch.hashes) do
  for member, by in pairs(members) do redis.call('HINCRBY', key, member, by) end
end
for key, members in pairs(batch.sets) do
  for member, by in pairs(members) do redis.call('ZINCRBY', key, by, member) end
end
for member, name in pairs(batch.names) do redis.call('HSET', 'yardstick:names', member, name) end
redis.call('HINCRBY', 'yardstick:progress', '0:events_applied', batch.events)
"""

Order = dict[str, Any]


def _orders(bodies: Iterable[bytes]) -> list[Order]:
    return [event["data"] for body in bodies for event in msgspec.json.decode(body)]


async def _postgres(sink: str, url: str, insert: str, last: Callable[[Order], str]) -> None:
    database = await asyncpg.connect(os.environ[url], server_settings={"search_path": f"{sink}, public"})

    async def handle(bodies: list[bytes]) -> None:
        orders = _orders(bodies)
        columns = [[order[name] for order in orders] for name in ("order_id", "customer_id", "currency")]
        columns += [[order[name] for order in orders] for name in ("item_count", "total")]
        columns.append([datetime.fromisoformat(order["placed_at"]) for order in orders])
        async with database.transaction():
            await database.execute(insert, *columns, [last(order) for order in orders])
            await database.execute(POSITION, len(orders))

    await consume(sink_queue(sink), PREFETCH, TAKE, handle)


async def summary() -> None:
    def document(order: Order) -> str:
        return msgspec.json.encode({**order, "status": "placed", "version": 1}).decode()

    await _postgres("summary", "TIDEMARK_SUMMARY_DB_URL", SUMMARY_ORDERS, document)


async def search() -> None:
    def names(order: Order) -> str:
        return "\n".join(line["name"] for line in order["lines"])

    await _postgres("search", "TIDEMARK_SEARCH_DB_URL", SEARCH_ORDERS, names)


async def analytics() -> None:
    redis = Redis.from_url(os.environ["TIDEMARK_ANALYTICS_REDIS_URL"])
    script = redis.register_script(INCREMENT)

    async def handle(bodies: list[bytes]) -> None:
        await script(args=[msgspec.msgpack.encode(_increments(_orders(bodies)))])

    await consume(sink_queue("analytics"), PREFETCH, TAKE, handle)


def _increments(orders: list[Order]) -> dict[str, Any]:
    hashes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    sets: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    names = {}
    for order in orders:
        hour = order["placed_at"][:13].replace("-", "").replace("T", "")
        for key, span in (("hour", hour), ("day", hour[:8])):
            counts = hashes[f"yardstick:{key}:{order['currency']}"]
            counts[f"{span}:orders"] += 1
            counts[f"{span}:items"] += order["item_count"]
            counts[f"{span}:revenue"] += order["total"]
        for span in (hour[:8], hour[:6], "all"):
            hashes[f"yardstick:buyers:{span}"][order["customer_id"]] += 1
            units, sales = sets[f"yardstick:units:{span}"], sets[f"yardstick:sales:{order['currency']}:{span}"]
            for line in order["lines"]:
                units[line["product_id"]] += line["quantity"]
                sales[line["product_id"]] += line["amount"]
        for line in order["lines"]:
            names[line["product_id"]] = line["name"]
    return {"hashes": hashes, "sets": sets, "names": names, "events": len(orders)}


SINKS: Final[Mapping[str, Callable[[], Awaitable[None]]]] = {
    "summary": summary,
    "analytics": analytics,
    "search": search,
}
