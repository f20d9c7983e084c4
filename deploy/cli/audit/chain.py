"""Whether the audit is what was recorded: every row, in order, by the hashes that chain them (``projectors/dead_letters/migrations/0008``).

    content(n)  the JSON text [number, at, actor, act, reason, letter_id, job_id, projection, request_id, details, once], as PostgreSQL
                writes jsonb; ``at`` in microseconds since 1970; in UTF-8
    hash(n)     SHA-256( hash(n - 1) || content(n) ), hash(0) = 32 zero bytes

Recomputed here, not in the database. A row that was changed, removed, added or exchanged is found by the chain alone, unless all hashes
after it were computed anew; that, and a cut-off end, is found by an anchor: number and hash of a row, noted elsewhere earlier.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import asyncpg
from pydantic import BaseModel

from shared.views.operations_queries import AUDIT_CHAIN, AUDIT_HEAD

GENESIS: Final = bytes(32)
CHECKPOINT: Final = "prune-audit"
"""The act of the rows that retention leaves for what it has cut off."""
MAX_FINDINGS: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ANCHOR: Final = re.compile(r"(0|[1-9][0-9]{0,18}):([0-9a-f]{64})", re.ASCII)
_PREFETCH: Final = 2000


@dataclass(frozen=True, slots=True)
class Anchor:
    """A row as it once was. As text: ``NUMBER:HASH``."""

    number: int
    hash: bytes

    @classmethod
    def parse(cls, text: str) -> "Anchor":
        """Raises ValueError."""
        found = _ANCHOR.fullmatch(text)
        if found is None:
            raise ValueError("an anchor is NUMBER:HASH, as `tidemark audit verify` prints it")
        return cls(int(found[1]), bytes.fromhex(found[2]))

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"


class ChainFinding(BaseModel):
    """``kind``: ``changed`` (a row), ``missing`` (rows ``number`` to ``through``), ``cut-off`` (rows at the end), ``head`` (what the
    database notes about the end), ``anchor`` (a row is not what it was when the anchor was noted)."""

    kind: str
    number: int
    through: int | None = None
    message: str


class ChainReport(BaseModel):
    intact: bool
    rows: int
    pruned: int
    """Rows from the beginning that retention has cut off."""
    anchor: str
    """Of the last row: note it elsewhere, and give it to a later verification."""
    since: str | None
    """The anchor that was given."""
    found: int
    """How many findings there are."""
    findings: list[ChainFinding]
    """The first of them, by number."""


def content(row: Mapping[str, Any]) -> bytes:
    """What is hashed of a row. ``details``: as text, as PostgreSQL writes it."""
    texts = [_text(row[name]) for name in ("actor", "act", "reason")]
    numbers = [_text(row[name]) for name in ("letter_id", "job_id")]
    after = [_text(row[name]) for name in ("projection", "request_id")]
    at = (row["at"] - _EPOCH) // _MICROSECOND
    parts = [str(row["number"]), str(at), *texts, *numbers, *after, row["details"], _text(row["once"])]
    return f"[{', '.join(parts)}]".encode()


def _text(value: str | int | None) -> str:
    return json.dumps(value, ensure_ascii=False)


def link(previous: bytes, of_row: bytes) -> bytes:
    """The hash of a row, from that of the row before it and its own content."""
    return sha256(previous + of_row).digest()


@dataclass(slots=True)
class ChainCheck:
    """Takes the rows by number, ascending, one after the other."""

    anchor: Anchor | None = None
    rows: int = 0
    found: int = 0
    findings: list[ChainFinding] = field(default_factory=list)
    first: tuple[int, bytes] | None = None
    """Number of the first row, and the hash that it names as that of the row before it."""
    last: Anchor = Anchor(0, GENESIS)
    checkpoint: Anchor = Anchor(0, GENESIS)
    """The last row that retention has cut off, as the chain itself says."""
    _blamed: bool = False
    """Whether the last row has been found to be changed."""
    _anchored: bool = False

    def take(self, row: Mapping[str, Any]) -> None:
        number, previous, own = row["number"], row["previous"], row["hash"]
        as_recorded = link(previous, content(row)) == own
        if self.first is None:
            self.first = (number, previous)
        elif number != self.last.number + 1:
            self._missing(self.last.number + 1, number - 1)
        elif as_recorded and previous != self.last.hash and not self._blamed:
            self._changed(self.last.number, "it was changed, and its hash with it: the next row names another one")
        if not as_recorded:
            self._changed(number, f"it was changed: it is not what its hash says ({row['actor']}: {row['act']})")
        self._blamed = not as_recorded
        if row["act"] == CHECKPOINT and not self._blamed:
            details = json.loads(row["details"])
            self.checkpoint = Anchor(details["through"], bytes.fromhex(details["hash"]))
        if self.anchor is not None and number == self.anchor.number:
            self._check_anchor(own)
        self.rows += 1
        self.last = Anchor(number, own)

    def finish(self, head: Anchor) -> ChainReport:
        """``head``: what the database notes about the end of the chain."""
        self._check_beginning()
        self._check_end(head)
        if self.anchor is not None and not self._anchored:
            self._check_missing_anchor(self.anchor)
        return ChainReport(
            intact=not self.found,
            rows=self.rows,
            pruned=self.checkpoint.number,
            anchor=str(self.last),
            since=None if self.anchor is None else str(self.anchor),
            found=self.found,
            findings=sorted(self.findings, key=lambda one: one.number),
        )

    def _check_beginning(self) -> None:
        if self.first is None:
            return
        number, previous = self.first
        if number > self.checkpoint.number + 1:
            self._missing(self.checkpoint.number + 1, number - 1)
        elif number <= self.checkpoint.number:
            self._add("changed", number, "retention has cut it off, by what the chain says, and it is there")
        elif previous != self.checkpoint.hash:
            self._changed(number, "it does not follow from what was there before it")

    def _check_end(self, head: Anchor) -> None:
        if head.number > self.last.number:
            self._add(
                "cut-off",
                self.last.number + 1,
                f"the end was cut off: {head.number} rows were recorded",
                head.number,
            )
        elif head != self.last:
            self._add("head", self.last.number, "the end that the database notes is not that of its last row")

    def _check_anchor(self, own: bytes) -> None:
        assert self.anchor is not None  # noqa: S101 - the caller has looked
        self._anchored = True
        if own != self.anchor.hash:
            self._add("anchor", self.anchor.number, "it, or a row before it, was changed since the anchor was noted")

    def _check_missing_anchor(self, anchor: Anchor) -> None:
        if anchor.number > self.last.number:
            message = f"the end was cut off: row {anchor.number} was there when the anchor was noted"
            self._add("cut-off", self.last.number + 1, message, anchor.number)
        elif anchor.number == self.checkpoint.number:
            self._check_anchor(self.checkpoint.hash)
        elif anchor.number > self.checkpoint.number:
            self._add("anchor", anchor.number, "the row of the anchor is missing")

    def _missing(self, first: int, last: int) -> None:
        which = f"row {first} is" if first == last else f"rows {first} to {last} are"
        self._add("missing", first, f"{which} missing", last)

    def _changed(self, number: int, message: str) -> None:
        self._add("changed", number, message)

    def _add(self, kind: str, number: int, message: str, through: int | None = None) -> None:
        self.found += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(ChainFinding(kind=kind, number=number, through=through, message=message))


async def verify_chain(connection: asyncpg.Connection, anchor: Anchor | None = None) -> ChainReport:
    """All rows as they are at one moment, in constant memory. ``connection``: its ``search_path`` is the schema of the audit."""
    check = ChainCheck(anchor)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for row in connection.cursor(AUDIT_CHAIN, prefetch=_PREFETCH):
            check.take(dict(row))
        head = await connection.fetchrow(AUDIT_HEAD)
    assert head is not None  # noqa: S101 - the migration makes the row
    return check.finish(Anchor(head["number"], head["hash"]))
