"""The yardstick's write side: every waiting command becomes its rows in one transaction; the relay hands the events
on.
"""

import asyncio
import hashlib
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import aio_pika
import asyncpg
import msgspec

from tests.benchmarks.yardstick import COMMANDS, EVENTS, RABBITMQ_URL, consume

WRITE_DB_URL: Final = "TIDEMARK_WRITE_DB_URL"
GROUP: Final = 200
READ_AT_ONCE: Final = 2000
PACK: Final = 100

STREAMS: Final = """
INSERT INTO streams (stream, kind, version, state, updated_at)
SELECT stream, 'orders', 1, state::json, $3 FROM unnest($1::text[], $2::text[]) AS new (stream, state)
"""
APPEND: Final = """
INSERT INTO events (stream, version, envelope)
SELECT stream, 1, envelope::json FROM unnest($1::text[], $2::text[]) AS new (stream, envelope)
"""
OUTCOMES: Final = """
INSERT INTO commands (command_id, command_type, body_hash, outcome, decided_at)
SELECT id, 'orders.place-order', hash, outcome::json, $4
FROM unnest($1::text[], $2::bytea[], $3::text[]) AS new (id, hash, outcome)
"""
ENQUEUE: Final = """
INSERT INTO outbox (stream, hash, type, envelope)
SELECT stream, 0, 'orders.order-placed', envelope FROM unnest($1::text[], $2::text[]) AS new (stream, envelope)
"""
NOTIFY: Final = "SELECT pg_notify('yardstick', '')"
HEAD: Final = "SELECT id, envelope FROM outbox ORDER BY id LIMIT $1"
DELETE: Final = "DELETE FROM outbox WHERE id = ANY ($1::bigint[])"


async def worker() -> None:
    database = await asyncpg.connect(os.environ[WRITE_DB_URL])

    async def handle(bodies: list[bytes]) -> None:
        now = datetime.now(UTC)
        rows = [_rows(body, now.isoformat()) for body in bodies]
        streams, states, envelopes, ids, hashes, outcomes = map(list, zip(*rows, strict=True))
        async with database.transaction():
            await database.execute(STREAMS, streams, states, now)
            await database.execute(APPEND, streams, envelopes)
            await database.execute(OUTCOMES, ids, hashes, outcomes, now)
            await database.execute(ENQUEUE, streams, envelopes)
            await database.execute(NOTIFY)

    await consume(COMMANDS, 2 * GROUP, GROUP, handle)


def _rows(body: bytes, now: str) -> tuple[str, str, str, str, bytes, str]:
    """Stream, state, event, command id, hash and outcome: the same columns, of the same size, as Tidemark's."""
    command = msgspec.json.decode(body)
    data: dict[str, Any] = command["data"]
    lines = data["lines"]
    data["item_count"] = sum(line["quantity"] for line in lines)
    data["total"] = sum(line["amount"] for line in lines)
    stream = f"orders/{data['order_id']}"
    event = {
        "specversion": "1.0",
        "id": f"{stream}@1",
        "source": "tidemark/command-service",
        "type": "orders.order-placed",
        "subject": stream,
        "time": now,
        "datacontenttype": "application/json",
        "data": data,
        "streamversion": 1,
        "schemaversion": 2,
        "causationid": command["id"],
        "correlationid": command["id"],
    }
    outcome = {
        "specversion": "1.0",
        "id": f"{command['id']}/outcome",
        "source": "tidemark/command-service",
        "type": "command.accepted",
        "subject": stream,
        "time": now,
        "datacontenttype": "application/json",
        "data": {
            "command_id": command["id"],
            "command_type": command["type"],
            "stream": stream,
            "version": 1,
            "events": ["orders.order-placed"],
        },
    }
    state = {"status": "placed", "placed": data}
    return stream, _json(state), _json(event), command["id"], hashlib.sha256(body).digest(), _json(outcome)


async def relay() -> None:
    database = await asyncpg.connect(os.environ[WRITE_DB_URL])
    woken = asyncio.Event()
    await database.add_listener("yardstick", lambda *_: woken.set())
    connection = await aio_pika.connect(os.environ[RABBITMQ_URL], timeout=10)
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    exchange = await channel.get_exchange(EVENTS, ensure=False)
    while True:
        woken.clear()
        rows = await database.fetch(HEAD, READ_AT_ONCE)
        if not rows:
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await woken.wait()
            continue
        packs = [rows[start : start + PACK] for start in range(0, len(rows), PACK)]
        bodies = [b"[" + b",".join(row["envelope"].encode() for row in pack) + b"]" for pack in packs]
        messages = [
            aio_pika.Message(body, message_id=str(number), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            for number, body in enumerate(bodies)
        ]
        await asyncio.gather(*(exchange.publish(message, "", mandatory=True) for message in messages))
        await database.execute(DELETE, [row["id"] for row in rows])


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
