"""ClickHouse in this process (chdb): one folder for the whole process, a database in it for each generation.

A server would be reached by ``clickhouse-connect``, with the same statements.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import chdb
from chdb.session import Session

from projectors.stores.port import StoreUnavailableError

TABLES: Final = (Path(__file__).parent / "tables.sql").read_text()
WRONG_DATA: Final = ("CANNOT_PARSE", "ARGUMENT_OUT_OF_BOUND", "INCORRECT_DATA", "TYPE_MISMATCH", "DECIMAL_OVERFLOW")
INSERT: Final = """
INSERT INTO journal SETTINGS async_insert = 0, input_format_parallel_parsing = 0, max_insert_block_size = 100000000,
    min_insert_block_size_rows = 100000000, min_insert_block_size_bytes = 10000000000, max_insert_threads = 1
FORMAT JSONEachRow
"""
"""However many rows there are, they are one block, and so one part."""


class RefusedDataError(Exception):
    """ClickHouse cannot keep a value."""


class Database:
    """``url``: ``chdb:<folder>#<database>``. One statement runs at a time."""

    _session: Session | None = None
    _thread = ThreadPoolExecutor(1, thread_name_prefix="chdb")
    locks: Final[dict[str, asyncio.Lock]] = {}

    def __init__(self, url: str) -> None:
        self._folder, _, self._name = url.removeprefix("chdb:").partition("#")
        self.lock = self.locks.setdefault(url, asyncio.Lock())
        """Held from the check of positions until they have moved: here two writers are always in one process."""

    async def create(self) -> None:
        await self._run(f"CREATE DATABASE IF NOT EXISTS {self._name}")
        await self._run(f"USE {self._name}; {TABLES}")

    async def drop(self) -> None:
        await self._run(f"DROP DATABASE IF EXISTS {self._name}")

    async def read(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """A list of texts is an array; names of streams have no quotes and no backslashes."""
        for name, value in parameters.items():
            if isinstance(value, list):
                parameters[name] = "[" + ",".join(f"'{text}'" for text in value) + "]"
        found = await self._run(f"USE {self._name}; {statement}", parameters)
        return [json.loads(line) for line in found.splitlines()]

    async def insert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """All of them or none."""
        lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        await self._run(f"USE {self._name}; {INSERT}{lines}")

    async def _run(self, statements: str, parameters: Mapping[str, Any] | None = None) -> str:
        def run() -> str:
            if Database._session is None:
                Database._session = Session(self._folder)
            use, separator, statement = statements.partition("; ")
            if separator:
                Database._session.query(use)
            answer = Database._session.query(
                statement if separator else use, "JSONEachRow", params=dict(parameters or {})
            )
            return (answer.bytes() or b"").decode()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, run)
        except (chdb.ChdbError, RuntimeError) as error:
            if any(word in str(error) for word in WRONG_DATA):
                raise RefusedDataError(str(error)) from error
            raise StoreUnavailableError(str(error)) from error
