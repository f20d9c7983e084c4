"""Writes rows into tables: few by a prepared statement, many by COPY, which costs more round trips but less for each row.

Rows are tuples in the order of the columns and of the statement's parameters, each of which is an array.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import asyncpg

from shared.runtime.postgres import Connection

COPY_THRESHOLD: Final = 20
"""Rows. Below it a statement is cheaper: a COPY and its savepoint take more round trips."""

Row = tuple[Any, ...]


def columns_of(rows: Sequence[Row]) -> list[Row]:
    return list(zip(*rows, strict=True))


async def append(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Row], insert: str) -> None:
    """Write rows of which none exists. Raises asyncpg.UniqueViolationError."""
    if len(rows) < COPY_THRESHOLD:
        await connection.execute(insert, *columns_of(rows))
    else:
        await connection.copy_records_to_table(table, records=rows, columns=columns)


async def create(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Row], upsert: str) -> None:
    """Write rows, replacing those that exist."""
    insert = partial(connection.copy_records_to_table, table, records=rows, columns=columns)
    if len(rows) < COPY_THRESHOLD or not await try_insert(connection, insert):
        await connection.execute(upsert, *columns_of(rows))


async def try_insert(connection: Connection, insert: Callable[[], Awaitable[object]]) -> bool:
    """Insert rows that probably do not exist; False, and nothing is written, if one does. An upsert costs twice as much."""
    try:
        async with connection.transaction():
            await insert()
    except asyncpg.UniqueViolationError:
        return False
    return True
