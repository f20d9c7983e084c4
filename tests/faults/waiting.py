"""Polls the state of other processes, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import asyncpg

POLL_INTERVAL_S: Final = 0.05

T = TypeVar("T")


async def until(look: Callable[[], Awaitable[T]], holds: Callable[[T], bool] = bool, *, within_s: float = 60.0) -> T:
    """The result of ``look`` as soon as it ``holds``; fails after ``within_s`` with the last result."""
    began = time.monotonic()
    while not holds(found := await look()):
        assert time.monotonic() - began < within_s, f"after {within_s:.0f} s it is still {found!r}"[:500]
        await asyncio.sleep(POLL_INTERVAL_S)
    return found


async def fetch(url: str, query: str, *arguments: Any, schema: str = "public") -> list[asyncpg.Record]:
    """The rows, read over a new connection."""
    connection = await asyncpg.connect(url, timeout=10, server_settings={"search_path": schema})
    try:
        return await connection.fetch(query, *arguments, timeout=30)
    finally:
        connection.terminate()


async def in_outbox(write_db_url: str) -> int:
    """How many events are not yet published."""
    [row] = await fetch(write_db_url, "SELECT count(*) AS count FROM outbox")
    count: int = row["count"]
    return count
