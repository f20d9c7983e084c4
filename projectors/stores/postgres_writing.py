"""Rows into tables: few by a statement, whose plan is there already, many by COPY, which costs more round trips and less for each row.

Rows come as tuples, in the order of the columns and of the statement's parameters, of which each is an array.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import asyncpg

from shared.runtime.postgres import Connection

COPY_THRESHOLD: Final = 20
"""Rows. A COPY, and what guards it, is more round trips than a statement."""

Row = tuple[Any, ...]


def columns_of(rows: Sequence[Row]) -> list[Row]:
    return list(zip(*rows, strict=True))


async def append(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Row], insert: str) -> None:
    """Write rows of which none is there. Raises asyncpg.UniqueViolationError."""
    if len(rows) < COPY_THRESHOLD:
        await connection.execute(insert, *columns_of(rows))
    else:
        await connection.copy_records_to_table(table, records=rows, columns=columns)


async def create(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Row], upsert: str) -> None:
    """Write rows, over those that are there."""
    insert = partial(connection.copy_records_to_table, table, records=rows, columns=columns)
    if len(rows) < COPY_THRESHOLD or not await try_insert(connection, insert):
        await connection.execute(upsert, *columns_of(rows))


async def try_insert(connection: Connection, insert: Callable[[], Awaitable[object]]) -> bool:
    """Whether rows could be written as if none were there yet, which is nearly always so: to look for them costs as much again."""
    try:
        async with connection.transaction():
            await insert()
    except asyncpg.UniqueViolationError:
        return False
    return True
