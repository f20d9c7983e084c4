"""Compares two generations of a PostgreSQL read store row by row, in the server: only counts, digests and some samples are returned.

A round is one snapshot of both schemas. Rows belong to streams; the rows of a stream that is at the same version in both must be
equal, even while other streams advance, so such a difference is final. Streams at different versions are checked again in a bounded
number of rounds, and count as behind or ahead only if they have not advanced in any of them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import from_json

from deploy.compare.comparison import (
    Findings,
    Kind,
    Part,
    Positions,
    Sample,
    StreamDifference,
    differences,
    unchanged_differences,
)
from projectors.stores.tables import BOOKKEEPING, Table

if TYPE_CHECKING:
    import asyncpg

MAX_ROUNDS: Final = 10
PAUSE_S: Final = 0.5
MAX_DIFFERING: Final = 10_000
"""With more streams at different versions, rows are not compared."""

# Read from the catalogue: another generation may have been created by other code. A partition's rows are those of its table.
STORED_TABLES: Final = """
SELECT tables.relname AS name,
    ARRAY(
        SELECT attname::text FROM pg_attribute
        WHERE attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
    ) AS columns,
    ARRAY(
        SELECT columns.attname::text
        FROM pg_index
        CROSS JOIN LATERAL unnest(pg_index.indkey::int2[]) WITH ORDINALITY AS key (attnum, place)
        JOIN pg_attribute AS columns ON columns.attrelid = tables.oid AND columns.attnum = key.attnum
        WHERE pg_index.indrelid = tables.oid AND pg_index.indisprimary
        ORDER BY key.place
    ) AS key
FROM pg_class AS tables
JOIN pg_namespace AS schemas ON schemas.oid = tables.relnamespace
WHERE schemas.nspname = $1 AND tables.relkind IN ('r', 'p') AND NOT tables.relispartition
ORDER BY tables.relname
"""

_HERE: Final = Path(__file__).parent
TABLE_STATEMENTS: Final = (_HERE / "compare_table.sql").read_text()
POSITION_STATEMENTS: Final = (_HERE / "compare_positions.sql").read_text()


@dataclass(frozen=True)
class StoredTable:
    name: str
    columns: Sequence[str]
    key: Sequence[str]
    """The primary key; empty where there is none."""


class PostgresComparison:
    """``here`` and ``there`` are schemas of the connection's database; at most ``sample`` rows of a table are shown.

    ``described``: the read model's tables. The streams of any other table's rows are unknown.
    """

    def __init__(
        self, connection: "asyncpg.Connection", described: Sequence[Table[Any]], here: str, there: str, sample: int
    ) -> None:
        self._connection = connection
        self._described = {table.name: table for table in described}
        self._schemas = (here, there)
        self._sample = sample
        self._parts: dict[str, Part] = {}
        self._tables: dict[str, StoredTable] = {}
        """The columns of each table that both schemas have."""
        self._with_stream: set[str] = set()
        """Tables whose rows name their stream."""
        self._statements: dict[str, asyncpg.Record] = {}

    async def run(self, kinds: Sequence[str]) -> Findings:
        """``kinds``: the kinds of stream whose positions are compared."""
        statements = await self._row(POSITION_STATEMENTS, *self._schemas, list(kinds))
        await self._prepare()
        rounds, differing = await self._compare_all(statements)
        if len(differing) > MAX_DIFFERING:
            return Findings(
                parts=[],
                positions=await self._count_far_apart(statements, differing),
                looks=rounds,
                note=_TOO_FAR_APART,
            )
        first = last = differing
        while last and rounds < MAX_ROUNDS:
            await asyncio.sleep(PAUSE_S)
            rounds += 1
            last = await self._compare_caught_up(statements, last)
        unchanged, moving = unchanged_differences(first, last)
        positions = await self._counts(statements)
        positions.behind = sum(here < there for here, there in unchanged.values())
        positions.ahead = len(unchanged) - positions.behind
        positions.moving = moving
        positions.samples = await self._samples_of(statements, unchanged)
        return Findings(parts=list(self._parts.values()), positions=positions, looks=rounds)

    async def _prepare(self) -> None:
        """Read the tables of both schemas, and build the statements for those that both have."""
        here, there = [{table.name: table for table in await self._stored_tables(schema)} for schema in self._schemas]
        for name in sorted({*here, *there}):
            if name not in here or name not in there:
                only = self._schemas[0 if name in here else 1]
                self._parts[name] = Part(name=name, note=f"only {only} has this table")
                continue
            one, other = here[name], there[name]
            shared = [column for column in one.columns if column in other.columns]
            key = one.key if one.key == other.key else []
            self._tables[name] = StoredTable(name, shared, key)
            described = self._described.get(name)
            json = described.json if described else ()
            stream_column: tuple[str | None, str | None] = (None, None)
            if described and described.stream in shared:
                stream_column = described.kind, described.stream
                self._with_stream.add(name)
            self._statements[name] = await self._row(
                TABLE_STATEMENTS, *self._schemas, name, shared, key, *stream_column, json
            )
            self._parts[name] = Part(
                name=name,
                columns_only=(
                    [column for column in one.columns if column not in shared],
                    [column for column in other.columns if column not in shared],
                ),
                note=None if key else "it has no primary key that both share: only counts and digests are compared",
            )

    async def _stored_tables(self, schema: str) -> list[StoredTable]:
        rows = await self._connection.fetch(STORED_TABLES, schema)
        return [StoredTable(**row) for row in rows if row["name"] not in BOOKKEEPING]

    async def _compare_all(self, statements: "asyncpg.Record") -> tuple[int, dict[str, tuple[int, int]]]:
        """Compare all rows except those of streams at different versions; returns the number of rounds, and these streams."""
        for round_ in range(1, MAX_ROUNDS + 1):
            async with self._snapshot():
                differing = _pairs(await self._connection.fetch(statements["apart"], MAX_DIFFERING + 1))
                if len(differing) <= MAX_DIFFERING:
                    for name in self._statements:
                        await self._compare(name, list(differing), only_streams=False)
                    return round_, differing
            await asyncio.sleep(PAUSE_S)
        return MAX_ROUNDS, differing

    async def _compare_caught_up(
        self, statements: "asyncpg.Record", differing: Mapping[str, tuple[int, int]]
    ) -> dict[str, tuple[int, int]]:
        """Compare the rows of streams that are at the same version now; returns the other streams with their versions."""
        async with self._snapshot():
            now = _pairs(await self._connection.fetch(statements["again"], list(differing)))
            caught_up = [stream for stream, (here, there) in now.items() if here == there]
            if caught_up:
                for name in self._statements:
                    await self._compare(name, caught_up, only_streams=True)
        return {stream: pair for stream, pair in now.items() if pair[0] != pair[1]}

    async def _compare(self, name: str, streams: list[str], *, only_streams: bool) -> None:
        """Add the comparison of a table's rows in this snapshot: those of ``streams``, or all others."""
        statements, part = self._statements[name], self._parts[name]
        row = await self._row(statements["digests"], streams, only_streams)
        part.rows = (part.rows[0] + row["here"], part.rows[1] + row["there"])
        part.digests = _add_digests(part.digests, (row["here_digest"], row["there_digest"]))
        if row["here_digest"] == row["there_digest"] and row["here"] == row["there"]:
            return
        if statements["samples"] is None:
            part.different += max(1, abs(row["here"] - row["there"]))
            return
        counts = await self._row(statements["counts"], streams, only_streams)
        if name not in self._with_stream and streams:
            part.undecided += sum(counts.values())
            part.note = (
                "the streams of these rows are unknown, and events were arriving: compare again when it is quiet"
            )
            return
        part.missing += counts["missing"]
        part.extra += counts["extra"]
        part.different += counts["different"]
        wanted = self._sample - len(part.samples)
        if wanted > 0:
            rows = await self._connection.fetch(statements["samples"], streams, only_streams, wanted)
            part.samples += [self._sample_of(name, row) for row in rows]

    def _sample_of(self, name: str, row: "asyncpg.Record") -> Sample:
        here, there = (None if row[side] is None else from_json(row[side]) for side in ("here", "there"))
        known: dict[str, Any] = here or there or {}
        key = " ".join(str(known.get(column)) for column in self._tables[name].key)
        if here is None or there is None:
            return Sample(key=key, kind=Kind.MISSING if here is None else Kind.EXTRA)
        return Sample(key=key, kind=Kind.DIFFERENT, differences=differences(here, there, self._tables[name].columns))

    async def _counts(self, statements: "asyncpg.Record") -> Positions:
        row = await self._row(statements["counts"])
        return Positions(streams=(row["here"], row["there"]), held=(row["here_held"], row["there_held"]))

    async def _count_far_apart(self, statements: "asyncpg.Record", differing: dict[str, tuple[int, int]]) -> Positions:
        positions = await self._counts(statements)
        row = await self._row(statements["how_far"])
        positions.behind, positions.ahead = row["behind"], row["ahead"]
        positions.samples = await self._samples_of(statements, differing)
        return positions

    async def _samples_of(
        self, statements: "asyncpg.Record", differing: Mapping[str, tuple[int, int]]
    ) -> list[StreamDifference]:
        shown = sorted(differing)[: self._sample]
        held = {
            row["stream"]: (row["here"], row["there"])
            for row in await self._connection.fetch(statements["held"], shown)
        }
        return [StreamDifference(stream=stream, applied=differing[stream], held=held[stream]) for stream in shown]

    async def _row(self, statement: str, *arguments: object) -> "asyncpg.Record":
        """The row of a statement that always returns one."""
        (row,) = await self._connection.fetch(statement, *arguments)
        return row

    def _snapshot(self) -> Any:
        return self._connection.transaction(isolation="repeatable_read", readonly=True)


_TOO_FAR_APART: Final = f"more than {MAX_DIFFERING:,} streams are at different versions: rows were not compared"


def _pairs(rows: Sequence["asyncpg.Record"]) -> dict[str, tuple[int, int]]:
    return {row["stream"]: (row["here"], row["there"]) for row in rows}


def _add_digests(before: tuple[str, str] | None, more: tuple[str, str]) -> tuple[str, str]:
    """Digests are added, so that parts of a table can be compared one after the other."""
    known = before or ("0", "0")
    here, there = ((int(one, 16) + int(other)) % 2**64 for one, other in zip(known, more, strict=True))
    return f"{here:016x}", f"{there:016x}"
