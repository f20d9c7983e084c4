"""Events that no command would lead to, put where the command service puts its own: event store and outbox, in one transaction."""

import json
from datetime import UTC, datetime
from typing import Any

import asyncpg

from shared.messaging.topology import hash_of

SET_VERSION = "UPDATE streams SET version = $2 WHERE stream = $1 AND version = $2 - 1"
ADD_EVENT = "INSERT INTO events (stream, version, envelope) VALUES ($1, $2, $3::json)"
ADD_TO_OUTBOX = "INSERT INTO outbox (stream, hash, type, envelope) VALUES ($1, $4, $2, $3)"


async def append_raw(
    write_db_url: str,
    stream: str,
    version: int,
    type_: str,
    data: dict[str, Any],
    *,
    schema: int = 1,
    without: str = "",
    lost: bool = False,
) -> str:
    """The event's envelope, ``without`` this attribute. The stream must be at ``version - 1``. ``lost``: it never comes to the outbox."""
    envelope = json.dumps(
        {
            name: value
            for name, value in {
                "specversion": "1.0",
                "id": f"{stream}@{version}",
                "source": "tests",
                "type": type_,
                "subject": stream,
                "time": datetime.now(UTC).isoformat(),
                "data": data,
                "streamversion": version,
                "schemaversion": schema,
                "causationid": "tests",
                "correlationid": "tests",
            }.items()
            if name != without
        }
    )
    connection = await asyncpg.connect(write_db_url)
    try:
        async with connection.transaction():
            assert await connection.execute(SET_VERSION, stream, version) == "UPDATE 1"
            await connection.execute(ADD_EVENT, stream, version, envelope)
            if not lost:
                await connection.execute(ADD_TO_OUTBOX, stream, type_, envelope, hash_of(stream))
    finally:
        await connection.close()
    return envelope
