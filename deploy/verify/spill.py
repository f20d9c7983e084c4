"""The state of verify, in a temporary SQLite file: memory does not grow with streams, figures or findings."""

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from deploy.verify.findings import Finding, Kind, Observation
from projectors.stores.port import Position

CACHE_KIB: Final = 8 * 1024
"""For pages, and as much again for sorting. Rows arrive nearly in order, so a larger cache makes nothing faster."""

SCHEMA: Final = """
CREATE TABLE known (stream TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE suspects (
    projection TEXT, stream TEXT, applied INTEGER, drained_at TEXT, PRIMARY KEY (projection, stream)
) WITHOUT ROWID;
CREATE TABLE findings (id INTEGER PRIMARY KEY, projection TEXT, kind TEXT, place TEXT, detail TEXT);
CREATE INDEX findings_by_place ON findings (projection, place);
"""
ADD_KNOWN: Final = "INSERT OR IGNORE INTO known (stream) VALUES (?)"
IS_KNOWN: Final = "SELECT EXISTS (SELECT 1 FROM known WHERE stream = ?)"
SUSPECT: Final = "INSERT OR REPLACE INTO suspects VALUES (?, ?, ?, ?)"
SUSPECT_UNOBSERVED: Final = "INSERT OR IGNORE INTO suspects VALUES (?, ?, -1, NULL)"
CLEAR: Final = "DELETE FROM suspects WHERE projection = ? AND stream = ?"
SUSPECTS: Final = """
SELECT stream, applied, drained_at FROM suspects WHERE projection = ? AND stream > ? ORDER BY stream LIMIT ?
"""
COUNT_SUSPECTS: Final = "SELECT count(*) FROM suspects"
ADD: Final = "INSERT INTO findings (projection, kind, place, detail) VALUES (?, ?, ?, ?)"
FORGET: Final = "DELETE FROM findings WHERE projection = ? AND place = ?"
COUNTS: Final = "SELECT projection, kind, count(*), count(DISTINCT place) FROM findings GROUP BY projection, kind"
LIST: Final = "SELECT projection, kind, place, detail FROM findings ORDER BY id LIMIT ?"
STREAMS_TO_HEAL: Final = """
SELECT DISTINCT place FROM findings AS one
WHERE projection = ? AND kind IN ('missing', 'behind') AND place > ? AND NOT EXISTS (
    SELECT 1 FROM findings AS other
    WHERE other.projection = one.projection AND other.place = one.place AND other.kind = 'different'
)
ORDER BY place LIMIT ?
"""
"""Streams that only lack events: their content is correct."""
HAS_KIND: Final = "SELECT EXISTS (SELECT 1 FROM findings WHERE projection = ? AND kind = ?)"


class Spill:
    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        database.executescript(SCHEMA)
        database.execute("BEGIN")  # and never committed: no other connection reads it

    def add_known(self, streams: Iterable[str]) -> None:
        """Record that these are in the event store."""
        self.database.executemany(ADD_KNOWN, ((stream,) for stream in streams))

    def unknown(self, streams: Iterable[str]) -> list[str]:
        return [stream for stream in streams if not self.database.execute(IS_KNOWN, (stream,)).fetchone()[0]]

    def suspect(self, projection: str, observations: Iterable[Observation]) -> None:
        """Have these streams checked again. Replaces their previous observations."""
        self.database.executemany(
            SUSPECT,
            (
                (
                    projection,
                    observation.stream,
                    observation.position.applied,
                    observation.drained_at and observation.drained_at.isoformat(),
                )
                for observation in observations
            ),
        )

    def suspect_unobserved(self, projection: str, streams: Iterable[str]) -> None:
        """Have these streams checked, without an observation."""
        self.database.executemany(SUSPECT_UNOBSERVED, ((projection, stream) for stream in streams))

    def clear(self, projection: str, streams: Iterable[str]) -> None:
        self.database.executemany(CLEAR, ((projection, stream) for stream in streams))

    def suspects(self, projection: str, size: int) -> Iterator[dict[str, Observation]]:
        """The last observations of the suspects, in batches."""
        after = ""
        while rows := self.database.execute(SUSPECTS, (projection, after, size)).fetchall():
            after = rows[-1][0]
            yield {
                stream: Observation(stream, 0, Position(applied), drained_at and datetime.fromisoformat(drained_at))
                for stream, applied, drained_at in rows
            }

    def suspect_count(self) -> int:
        return int(self.database.execute(COUNT_SUSPECTS).fetchone()[0])

    def add(self, findings: Iterable[Finding]) -> None:
        self.database.executemany(
            ADD,
            ((one.projection, one.kind.value, one.place, json.dumps(one.detail, default=str)) for one in findings),
        )

    def forget(self, projection: str, places: Iterable[str]) -> None:
        self.database.executemany(FORGET, ((projection, place) for place in places))

    def counts(self) -> dict[tuple[str, Kind], int]:
        """The number of places for each projection and kind."""
        return {(row[0], Kind(row[1])): row[3] for row in self.database.execute(COUNTS)}

    def first(self, limit: int) -> list[Finding]:
        return [
            Finding(projection, Kind(kind), place, json.loads(detail))
            for projection, kind, place, detail in self.database.execute(LIST, (limit,))
        ]

    def streams_to_heal(self, projection: str, size: int) -> Iterator[Sequence[str]]:
        """Streams that only lack events, in batches."""
        after = ""
        while rows := self.database.execute(STREAMS_TO_HEAL, (projection, after, size)).fetchall():
            after = rows[-1][0]
            yield [row[0] for row in rows]

    def any_of(self, projection: str, kind: Kind) -> bool:
        return bool(self.database.execute(HAS_KIND, (projection, kind.value)).fetchone()[0])


@contextmanager
def open_spill() -> Iterator[Spill]:
    """The file is deleted after the block."""
    with tempfile.TemporaryDirectory(prefix="tidemark-verify-") as folder:
        # One thread at a time uses it: the event loop's, or one that the loop waits for.
        database = sqlite3.connect(Path(folder) / "spill.db", isolation_level=None, check_same_thread=False)
        try:
            for pragma in (
                "journal_mode = OFF",
                "synchronous = OFF",
                "temp_store = FILE",
                f"cache_size = -{CACHE_KIB}",
            ):
                database.execute(f"PRAGMA {pragma}")
            yield Spill(database)
        finally:
            database.close()
