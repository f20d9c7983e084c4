"""The figures that follow from the events, cell by cell, on disk: the expected content of every key of the analytics store.

    effects of some streams ──record──▶ log (finest grain) ──finish──▶ cells, with months and all time added up from days
                                                             advance ▶ cells, from later events of these streams

A cell is a key and a member or field. Kinds of cells differ in what a missing member means:

    counter   a missing field is 0
    tally     a member whose sum is 0 is missing
    fact      the value itself: a day's score, a currency, a product's name
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from typing import Any, Final

from deploy.verify.spill import Spill
from projectors.models.analytics.projection import Counts, Effects, by_span, sales_by_span
from shared.views.analytics import ALL, METRICS, Keys

Cell = tuple[str, str]
"""Key, and member or field."""
Value = int | float | str
"""An integer that does not fit into 64 bits is text: see ``storable``."""

_DAY, _MONTH = len("YYYYMMDD"), len("YYYYMM")
INT64_LIMIT: Final = 2**63
"""The smallest integer that does not fit into 64 bits."""


class CellKind(StrEnum):
    COUNTER = "counter"
    TALLY = "tally"
    FACT = "fact"


SCHEMA: Final = """
CREATE TABLE keys (id INTEGER PRIMARY KEY, name TEXT UNIQUE, sort TEXT, month INTEGER, ever INTEGER);
CREATE TABLE log (key INTEGER, member TEXT, value);
CREATE TABLE cells (key INTEGER, member TEXT, value, PRIMARY KEY (key, member)) WITHOUT ROWID;
CREATE TABLE seen (stream TEXT PRIMARY KEY, applied INTEGER, version INTEGER) WITHOUT ROWID;
CREATE INDEX moving ON seen (stream) WHERE version > applied;
CREATE TABLE found (member TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE doubtful (key TEXT, member TEXT, unequal INTEGER DEFAULT 0, PRIMARY KEY (key, member)) WITHOUT ROWID;
"""
KEY: Final = "INSERT INTO keys (name, sort, month, ever) VALUES (?, ?, ?, ?) RETURNING id"
LOG: Final = "INSERT INTO log VALUES (?, ?, ?)"
ADD_UP: Final = "INSERT INTO cells SELECT key, member, added_up(value) FROM log GROUP BY key, member"
MONTHS: Final = """
INSERT INTO cells SELECT month, member, added_up(value) FROM cells JOIN keys ON id = key WHERE month IS NOT NULL GROUP BY 1, 2
"""
ALL_TIME: Final = """
INSERT INTO cells SELECT ever, member, added_up(value) FROM cells JOIN keys ON id = key WHERE ever IS NOT NULL GROUP BY 1, 2
"""
INCREASE: Final = """
INSERT INTO cells VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = plus(cells.value, excluded.value)
"""
SET: Final = "INSERT INTO cells VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
GREATEST: Final = (
    "INSERT INTO cells VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = max(cells.value, excluded.value)"
)
SET_POSITION: Final = "INSERT OR REPLACE INTO seen VALUES (?, ?, ?)"
APPLIED: Final = "SELECT applied FROM seen WHERE stream = ?"
VERSION: Final = "SELECT version FROM seen WHERE stream = ?"
UNCOUNTED: Final = "SELECT stream, applied FROM seen WHERE version > applied AND stream > ? ORDER BY stream LIMIT ?"
VALUE: Final = "SELECT value FROM cells WHERE key = ? AND member = ?"
FOUND: Final = "INSERT OR REPLACE INTO found VALUES (?, ?)"
UNEQUAL: Final = """
SELECT cells.member FROM cells LEFT JOIN found USING (member) WHERE cells.key = ? AND found.value IS NOT cells.value
UNION ALL SELECT member FROM found WHERE NOT EXISTS (SELECT 1 FROM cells WHERE cells.key = ? AND cells.member = found.member)
"""
"""A superset of the unequal members: ``equal`` decides about these few."""
FOUND_VALUE: Final = "SELECT value FROM found WHERE member = ?"
ADD_DOUBTFUL: Final = "INSERT OR IGNORE INTO doubtful (key, member) VALUES (?, ?)"
DOUBTFUL: Final = "SELECT key, member, unequal FROM doubtful WHERE (key, member) > (?, ?) ORDER BY key, member LIMIT ?"
COUNT_UNEQUAL: Final = "UPDATE doubtful SET unequal = unequal + 1 WHERE key = ? AND member = ?"
REMOVE_DOUBTFUL: Final = "DELETE FROM doubtful WHERE key = ? AND member = ?"
COUNT_DOUBTFUL: Final = "SELECT count(*) FROM doubtful"


def storable(value: int) -> int | str:
    """The value as SQLite can store it: an integer that does not fit into 64 bits becomes text."""
    return value if -INT64_LIMIT <= value < INT64_LIMIT else str(value)


class ExactSum:
    """An SQL aggregate: an exact sum of any size, unlike SQLite's own."""

    def __init__(self) -> None:
        self._total = 0

    def step(self, value: int | str) -> None:
        self._total += int(value)

    def finalize(self) -> int | str:
        return storable(self._total)


class Figures:
    def __init__(self, spill: Spill, layout: Keys) -> None:
        self._database = spill.database
        self._database.create_aggregate("added_up", 1, ExactSum)  # type: ignore[arg-type]  # typeshed: int alone
        self._database.create_function(
            "plus", 2, lambda one, other: storable(int(one) + int(other)), deterministic=True
        )
        self._layout = layout
        self._ids: dict[str, int] = {}
        self._cell_kinds: dict[str, CellKind] = {}
        for statement in SCHEMA.split(";\n"):
            self._database.execute(statement)

    def set_positions(self, positions: Mapping[str, tuple[int, int]]) -> None:
        """Stream → the version that is applied and counted here, and its version in the event store."""
        self._database.executemany(SET_POSITION, ((stream, *pair) for stream, pair in positions.items()))

    def applied(self, stream: str) -> int:
        row = self._database.execute(APPLIED, (stream,)).fetchone()
        return row[0] if row is not None else 0

    def version(self, stream: str) -> int:
        row = self._database.execute(VERSION, (stream,)).fetchone()
        return row[0] if row is not None else 0

    def uncounted(self, limit: int, after: str = "") -> dict[str, int]:
        """Streams with events that are not counted yet, and their counted versions; ordered by name."""
        return dict(self._database.execute(UNCOUNTED, (after, limit)).fetchall())

    def record(self, effects: Effects) -> None:
        """Add streams that were not counted before. Call ``finish`` afterwards."""
        self._database.executemany(LOG, ((*cell, storable(value)) for *cell, value in self._daily_increments(effects)))
        self._set_facts(effects)

    def finish(self) -> None:
        """Add up the recorded effects. Takes seconds, and blocks."""
        for statement in (ADD_UP, MONTHS, ALL_TIME, "DELETE FROM log"):
            self._database.execute(statement)

    def advance(self, effects: Effects) -> None:
        """Add the effects of events that streams have applied since they were counted."""
        increments = ((self._ids[key], member, storable(value)) for key, member, value in self._all_increments(effects))
        self._database.executemany(INCREASE, increments)
        self._set_facts(effects)

    def touched(self, effects: Effects) -> set[Cell]:
        """The cells that these effects would change."""
        cells = {(key, member) for key, member, _ in self._all_increments(effects)}
        cells |= {(self._layout.line_names, product) for product in effects.line_names}
        return cells | {(key, member) for key, member, _ in self._fact_cells(effects)}

    def cell_kind(self, key: str) -> CellKind | None:
        """The kind of the key's cells; None: no event leads to this key."""
        return self._cell_kinds.get(key)

    def keys(self) -> Sequence[str]:
        return list(self._cell_kinds)

    def expected(self, cell: Cell) -> Value | None:
        row = self._database.execute(VALUE, (self._ids.get(cell[0]), cell[1])).fetchone()
        value: Value | None = row[0] if row is not None else None
        return value

    def equal(self, cell: Cell, found: Value | None) -> bool:
        want = self.expected(cell)
        match self._cell_kinds.get(cell[0]):
            case CellKind.COUNTER if want is not None:
                return (0 if found is None else found) == want
            case CellKind.TALLY:
                return found == want if want else found is None
            case _:
                return found == want

    def load(self, pairs: Iterable[tuple[str, Value | None]]) -> None:
        """Load the store's content of one key, for ``compare``."""
        self._database.executemany(FOUND, pairs)

    def compare(self, key: str) -> list[str]:
        """The members of this key whose loaded value is not the expected one. Deletes the loaded values."""
        number = self._ids.get(key, -1)
        members = [row[0] for row in self._database.execute(UNEQUAL, (number, number))]
        unequal = [member for member in members if not self.equal((key, member), self._loaded(member))]
        self._database.execute("DELETE FROM found")
        return unequal

    def add_doubtful(self, cells: Iterable[Cell]) -> None:
        """Have these cells checked again."""
        self._database.executemany(ADD_DOUBTFUL, cells)

    def doubtful(self, size: int) -> Iterator[dict[Cell, int]]:
        """Cells that were unequal in their last check, in batches, and how often they were certainly unequal."""
        after = ("", "")
        while rows := self._database.execute(DOUBTFUL, (*after, size)).fetchall():
            after = rows[-1][:2]
            yield {(key, member): unequal for key, member, unequal in rows}

    def doubtful_count(self) -> int:
        return int(self._database.execute(COUNT_DOUBTFUL).fetchone()[0])

    def remove_doubtful(self, cell: Cell) -> None:
        self._database.execute(REMOVE_DOUBTFUL, cell)

    def count_unequal(self, cell: Cell) -> None:
        self._database.execute(COUNT_UNEQUAL, cell)

    def _loaded(self, member: str) -> Value | None:
        row = self._database.execute(FOUND_VALUE, (member,)).fetchone()
        value: Value | None = row[0] if row is not None else None
        return value

    def _daily_increments(self, effects: Effects) -> Iterator[tuple[int, str, int]]:
        layout = self._layout
        for day, counts in effects.units.items():
            key = self._day_key(day, layout.units)
            yield from ((key, product, units) for product, units in counts.items())
        for (currency, day), counts in effects.sales.items():
            key = self._day_key(day, lambda span, currency=currency: layout.sales(currency, span))
            yield from ((key, product, amount) for product, amount in counts.items())
        for day, counts in effects.buyers.items():
            key = self._day_key(day, layout.buyers)
            yield from ((key, customer, orders) for customer, orders in counts.items())
        for name, counts in self._sales_by(effects):
            key = self._id(name, CellKind.TALLY)
            yield from ((key, member, increment) for member, increment in counts.items())
        yield from ((self._id(key, CellKind.COUNTER), name, value) for key, name, value in self._buckets(effects))

    def _all_increments(self, effects: Effects) -> Iterator[tuple[str, str, int]]:
        """(key, member, increment) for days, months and all time."""
        layout = self._layout
        currencies = {currency for currency, _ in effects.sales}
        groups = chain(
            ((layout.units(span), counts) for spans, counts in by_span(effects.units) for span in spans),
            ((layout.buyers(span), counts) for spans, counts in by_span(effects.buyers) for span in spans),
            (
                (layout.sales(currency, span), counts)
                for currency in currencies
                for spans, counts in by_span({day: c for (own, day), c in effects.sales.items() if own == currency})
                for span in spans
            ),
        )
        for key, counts in chain(groups, self._sales_by(effects)):
            self._id(key, CellKind.TALLY)
            yield from ((key, member, increment) for member, increment in counts.items())
        for key, name, value in self._buckets(effects):
            self._id(key, CellKind.COUNTER)
            yield key, name, value

    def _sales_by(self, effects: Effects) -> Iterator[tuple[str, Counts]]:
        layout = self._layout
        for dimension, currency, spans, counts in sales_by_span(effects):
            yield from ((layout.sales_by(dimension, currency, span), counts) for span in spans)
        yield from ((layout.buyers_by(*group), counts) for group, counts in effects.buyers_by.items())

    def _buckets(self, effects: Effects) -> Iterator[tuple[str, str, int]]:
        for (currency, hour), metrics in effects.buckets.items():
            for metric, value in zip(METRICS, metrics, strict=True):
                yield self._layout.hours_in(currency), f"{hour}:{metric}", value
                yield self._layout.days_in(currency), f"{hour[:_DAY]}:{metric}", value

    def _set_facts(self, effects: Effects) -> None:
        facts = ((self._id(key, CellKind.FACT), member, value) for key, member, value in self._fact_cells(effects))
        self._database.executemany(SET, facts)
        if effects.line_names:
            key = self._id(self._layout.line_names, CellKind.FACT)
            self._database.executemany(GREATEST, ((key, *pair) for pair in effects.line_names.items()))

    def _fact_cells(self, effects: Effects) -> Iterator[tuple[str, str, Value]]:
        layout = self._layout
        yield from ((layout.currencies, currency, 1) for currency, _ in effects.sales)
        yield from ((layout.days, day, int(day)) for day in effects.units)
        yield from ((layout.names, product, name) for product, name in effects.names.items())

    def _day_key(self, day: str, key_of: Any) -> int:
        """The id of a day's key; creates the keys of its month and of all time with it."""
        name = key_of(day)
        known = self._ids.get(name)
        if known is not None:
            return known
        month, all_time = self._id(key_of(day[:_MONTH]), CellKind.TALLY), self._id(key_of(ALL), CellKind.TALLY)
        return self._id(name, CellKind.TALLY, month, all_time)

    def _id(self, name: str, cell_kind: CellKind, month: int | None = None, all_time: int | None = None) -> int:
        known = self._ids.get(name)
        if known is None:
            known = self._ids[name] = self._database.execute(KEY, (name, cell_kind.value, month, all_time)).fetchone()[
                0
            ]
            self._cell_kinds[name] = cell_kind
        return known
