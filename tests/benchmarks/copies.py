"""The yardstick of a rebuild: the rows of a generation, out of the store and into it again as fast as the server itself takes them.

COPY, binary, with all indexes; Redis has none, so there it is every key by DUMP and RESTORE, pipelined. One connection. What is timed is
the way in.
"""

import io
import time
from typing import Any, Final

import asyncpg
from redis.asyncio import Redis

from deploy.servers.provide import Servers
from projectors.stores.migrations import migrate
from projectors.stores.tables import tables_of
from shared.views.generations import generation_name

TABLES: Final = {
    "summary": ("positions", *(table.name for table in tables_of("summary"))),
    "search": ("positions", *(table.name for table in tables_of("search"))),
}
COLUMNS: Final = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = $1 AND table_name = $2 AND is_generated = 'NEVER' ORDER BY ordinal_position
"""
KEYS_AT_ONCE: Final = 100


async def copy(servers: Servers, projection: str, number: int) -> dict[str, Any]:
    """What is copied, how much of it, and the seconds that it took; the copy is gone afterwards."""
    return await (copy_keys if projection == "analytics" else copy_tables)(servers, projection, number)


async def copy_tables(servers: Servers, projection: str, number: int) -> dict[str, Any]:
    url = servers.stores["summary"] if projection == "summary" else servers.stores["search"]
    source, target = generation_name(projection, number), f"{projection}_copied"
    await migrate(projection, url, schema=target)
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


async def copy_keys(servers: Servers, projection: str, number: int) -> dict[str, Any]:
    source, target = f"{generation_name(projection, number)}:", f"{projection}_copied:"
    async with Redis.from_url(servers.stores["analytics"]) as redis:
        keys = [key async for key in redis.scan_iter(f"{source}*", count=1000)]
        dumped = [(key, await redis.dump(key)) for key in keys]
        began = time.monotonic()
        for start in range(0, len(dumped), KEYS_AT_ONCE):
            async with redis.pipeline(transaction=False) as pipeline:
                for key, value in dumped[start : start + KEYS_AT_ONCE]:
                    pipeline.restore(key.decode().replace(source, target), 0, value or b"", replace=True)
                await pipeline.execute()
        seconds = time.monotonic() - began
        for key in keys:
            await redis.unlink(key.decode().replace(source, target))
    return {"what": "RESTORE of every key", "rows": len(keys), "seconds": round(seconds, 2)}
