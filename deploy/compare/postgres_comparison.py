"""Two generations of a PostgreSQL read store, row by row, by the server: what comes here are counts, digests and some samples.

A look is one snapshot of both schemas. Rows belong to streams; the rows of a stream that stands at the same version in both must be the
same, whatever goes on beside it: so a difference is final when it is seen. Streams that are apart are looked at again, a bounded
number of times, and counted as behind only if they have not moved in all that time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import from_json

from deploy.compare.comparison import Findings, Kind, Part, Positions, Sample, StreamApart, differences, standing_apart
from projectors.stores.tables import BOOKKEEPING, Table

if TYPE_CHECKING:
    import asyncpg

LOOKS: Final = 10
PAUSE_S: Final = 0.5
MOST_APART: Final = 10_000
"""More streams apart than this, and the generations are not compared row by row."""

# What a schema has: another generation may have been made by other code.
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
WHERE schemas.nspname = $1 AND tables.relkind IN ('r', 'p')
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

    ``described``: the read model's tables. Of another one nothing says whose its rows are.
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
        """What both sides have of each table."""
        self._owned: set[str] = set()
        """Tables of which it is known whose each row is."""
        self._statements: dict[str, asyncpg.Record] = {}

    async def run(self, kinds: Sequence[str]) -> Findings:
        """``kinds``: the kinds of stream whose positions are compared."""
        about = await self._row(POSITION_STATEMENTS, *self._schemas, list(kinds))
        await self._prepare()
        looks, apart = await self._first_look(about)
        if len(apart) > MOST_APART:
            return Findings(parts=[], positions=await self._far_apart(about, apart), looks=looks, note=_TOO_FAR)
        first = last = apart
        while last and looks < LOOKS:
            await asyncio.sleep(PAUSE_S)
            looks += 1
            last = await self._look_again(about, last)
        still, moving = standing_apart(first, last)
        positions = await self._counts(about)
        positions.behind = sum(here < there for here, there in still.values())
        positions.ahead = len(still) - positions.behind
        positions.moving = moving
        positions.samples = await self._samples_of(about, still)
        return Findings(parts=list(self._parts.values()), positions=positions, looks=looks)

    async def _prepare(self) -> None:
        """Which tables there are on each side, and the statements for those that both have."""
        here, there = [{table.name: table for table in await self._found(schema)} for schema in self._schemas]
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
            owner: tuple[str | None, str | None] = (None, None)
            if described and described.stream in shared:
                owner = described.kind, described.stream
                self._owned.add(name)
            self._statements[name] = await self._row(TABLE_STATEMENTS, *self._schemas, name, shared, key, *owner, json)
            self._parts[name] = Part(
                name=name,
                columns_only=(
                    [column for column in one.columns if column not in shared],
                    [column for column in other.columns if column not in shared],
                ),
                note=None if key else "it has no primary key that both share: only counts and digests are compared",
            )

    async def _found(self, schema: str) -> list[StoredTable]:
        rows = await self._connection.fetch(STORED_TABLES, schema)
        return [StoredTable(**row) for row in rows if row["name"] not in BOOKKEEPING]

    async def _first_look(self, about: "asyncpg.Record") -> tuple[int, dict[str, tuple[int, int]]]:
        """All rows but those of streams that are apart; returns these, and how often it took to get them near enough."""
        for look in range(1, LOOKS + 1):
            async with self._snapshot():
                apart = _pairs(await self._connection.fetch(about["apart"], MOST_APART + 1))
                if len(apart) <= MOST_APART:
                    for name in self._statements:
                        await self._compare(name, list(apart), inside=False)
                    return look, apart
            await asyncio.sleep(PAUSE_S)
        return LOOKS, apart

    async def _look_again(
        self, about: "asyncpg.Record", apart: Mapping[str, tuple[int, int]]
    ) -> dict[str, tuple[int, int]]:
        """The rows of those that have met meanwhile are compared; returns the others, and where they stand."""
        async with self._snapshot():
            now = _pairs(await self._connection.fetch(about["again"], list(apart)))
            met = [stream for stream, (here, there) in now.items() if here == there]
            if met:
                for name in self._statements:
                    await self._compare(name, met, inside=True)
        return {stream: pair for stream, pair in now.items() if pair[0] != pair[1]}

    async def _compare(self, name: str, streams: list[str], *, inside: bool) -> None:
        """Add what a table's rows, those of ``streams`` or all others, come to in this snapshot."""
        statements, part = self._statements[name], self._parts[name]
        row = await self._row(statements["digests"], streams, inside)
        part.rows = (part.rows[0] + row["here"], part.rows[1] + row["there"])
        part.digests = _sum(part.digests, (row["here_digest"], row["there_digest"]))
        if row["here_digest"] == row["there_digest"] and row["here"] == row["there"]:
            return
        if statements["samples"] is None:
            part.different += max(1, abs(row["here"] - row["there"]))
            return
        counts = await self._row(statements["counts"], streams, inside)
        if name not in self._owned and streams:
            part.undecided += sum(counts.values())
            part.note = "nothing says whose rows these are, and events were arriving: compare again when it is quiet"
            return
        part.missing += counts["missing"]
        part.extra += counts["extra"]
        part.different += counts["different"]
        wanted = self._sample - len(part.samples)
        if wanted > 0:
            rows = await self._connection.fetch(statements["samples"], streams, inside, wanted)
            part.samples += [self._shown(name, row) for row in rows]

    def _shown(self, name: str, row: "asyncpg.Record") -> Sample:
        here, there = (None if row[side] is None else from_json(row[side]) for side in ("here", "there"))
        known: dict[str, Any] = here or there or {}
        key = " ".join(str(known.get(column)) for column in self._tables[name].key)
        if here is None or there is None:
            return Sample(key=key, kind=Kind.MISSING if here is None else Kind.EXTRA)
        return Sample(key=key, kind=Kind.DIFFERENT, differences=differences(here, there, self._tables[name].columns))

    async def _counts(self, about: "asyncpg.Record") -> Positions:
        row = await self._row(about["counts"])
        return Positions(streams=(row["here"], row["there"]), held=(row["here_held"], row["there_held"]))

    async def _far_apart(self, about: "asyncpg.Record", apart: dict[str, tuple[int, int]]) -> Positions:
        positions = await self._counts(about)
        row = await self._row(about["how_far"])
        positions.behind, positions.ahead = row["behind"], row["ahead"]
        positions.samples = await self._samples_of(about, apart)
        return positions

    async def _samples_of(self, about: "asyncpg.Record", apart: Mapping[str, tuple[int, int]]) -> list[StreamApart]:
        shown = sorted(apart)[: self._sample]
        held = {
            row["stream"]: (row["here"], row["there"]) for row in await self._connection.fetch(about["held"], shown)
        }
        return [StreamApart(stream=stream, applied=apart[stream], held=held[stream]) for stream in shown]

    async def _row(self, statement: str, *arguments: object) -> "asyncpg.Record":
        """Of a statement that always returns one."""
        (row,) = await self._connection.fetch(statement, *arguments)
        return row

    def _snapshot(self) -> Any:
        return self._connection.transaction(isolation="repeatable_read", readonly=True)


_TOO_FAR: Final = f"more than {MOST_APART:,} streams are apart: rows were not compared"


def _pairs(rows: Sequence["asyncpg.Record"]) -> dict[str, tuple[int, int]]:
    return {row["stream"]: (row["here"], row["there"]) for row in rows}


def _sum(before: tuple[str, str] | None, more: tuple[str, str]) -> tuple[str, str]:
    """Digests add up, so that parts of a table may be looked at one after the other."""
    known = before or ("0", "0")
    here, there = ((int(one, 16) + int(other)) % 2**64 for one, other in zip(known, more, strict=True))
    return f"{here:016x}", f"{there:016x}"
