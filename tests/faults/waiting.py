"""Waiting for what can only be asked of somebody else, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import asyncpg

LOOK_EVERY_S: Final = 0.05

T = TypeVar("T")


async def until(look: Callable[[], Awaitable[T]], holds: Callable[[T], bool] = bool, *, within_s: float = 60.0) -> T:
    """What ``look`` finds, as soon as it ``holds``; fails, showing what it found last."""
    began = time.monotonic()
    while not holds(found := await look()):
        assert time.monotonic() - began < within_s, f"after {within_s:.0f} s it is still {found!r}"[:500]
        await asyncio.sleep(LOOK_EVERY_S)
    return found


async def fetch(url: str, query: str, *arguments: Any, schema: str = "public") -> list[asyncpg.Record]:
    """The rows, over a connection of its own."""
    connection = await asyncpg.connect(url, timeout=10, server_settings={"search_path": schema})
    try:
        return await connection.fetch(query, *arguments, timeout=30)
    finally:
        connection.terminate()


async def in_outbox(write_db_url: str) -> int:
    """How many events wait to be published."""
    [row] = await fetch(write_db_url, "SELECT count(*) AS count FROM outbox")
    count: int = row["count"]
    return count
