"""Describes each table of a PostgreSQL read model: its columns, the stream that a row belongs to, the rows that follow from events.

A read model defines them in ``TABLES`` of ``projectors/models/<name>/tables.py``. Its store writes by them, ``deploy/verify`` compares the
rows with the events, ``deploy/compare`` compares generations. The DDL is in the read model's migrations: a test compares the descriptors
with the migrated schema.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, Self, TypeVar

from projectors.stores.modules import module_of
from projectors.stores.port import Advance
from shared import read_models

Changes = TypeVar("Changes")
"""The type that the projection's ``fold`` returns."""

BOOKKEEPING: Final = frozenset(
    {"positions", "held", "progress", "discarded", "erased_subjects", "migrations", "retention"}
)
"""Tables that a generation has beside its data: they contain its progress and, where it forgets, its horizon; they need no descriptor."""


@dataclass(frozen=True, kw_only=True)
class Table(Generic[Changes]):
    name: str
    columns: Sequence[str]
    """All of them."""
    key: Sequence[str]
    """The columns of the primary key, in its order."""
    stream: str
    """The column of type text that identifies the stream that a row belongs to."""
    kind: str | None
    """The stream is ``<kind>/<value of the column>``; None: the column contains the stream itself."""
    rows: Callable[[Changes], Sequence[Mapping[str, Any]]]
    """Given what ``fold`` returns for all events of some streams: all rows that belong to them, by column, every verified column named."""
    json: Sequence[str] = ()
    """Columns whose type is json, in some generation at least: equal values may differ as text, so they are compared as jsonb."""
    unverified: Mapping[str, str] = field(default_factory=dict)
    """Column → why it is not verified. Generations are compared by all columns."""
    replaces: Mapping[str, str] = field(default_factory=dict)
    """Column → the older column that it replaces. It is not verified in a row that has only the older one."""
    verified_through: Self | None = None
    """A view with sums of the rows, which is verified instead of them: there are too many. Generations are compared by the rows."""

    @property
    def verified(self) -> list[str]:
        return [column for column in self.columns if column not in self.unverified]

    def ids(self, streams: Sequence[str]) -> list[str]:
        """The values of the column ``stream`` in the rows of these streams; streams of other kinds are ignored."""
        if self.kind is None:
            return list(streams)
        prefix = f"{self.kind}/"
        return [stream.removeprefix(prefix) for stream in streams if stream.startswith(prefix)]

    def stream_of(self, row_id: str) -> str:
        return row_id if self.kind is None else f"{self.kind}/{row_id}"


@dataclass(frozen=True)
class Retention(Generic[Changes]):
    """Of a read model that forgets what is older than a horizon, which its store keeps: the rows follow from the events and the horizon.

    A read model defines it as ``RETENTION`` in its ``tables`` module.
    """

    horizon: str
    """The statement that reads it, from the table ``retention``."""
    keep: Callable[[Changes, datetime], Changes]
    """Given what ``fold`` returns: the same without what is older than the horizon."""


def retention_of(name: str) -> Retention[Any] | None:
    """None: the read model forgets nothing. Raises UnknownReadModelError."""
    found: Retention[Any] | None = getattr(module_of(name, "tables"), "RETENTION", None)
    return found


def tables_of(name: str) -> Sequence[Table[Any]]:
    """The tables of a read model in PostgreSQL, without the bookkeeping.

    Raises UnknownReadModelError, and TypeError for a table of a kind of stream that the read model does not read.
    """
    model = read_models.named(name)
    found: Sequence[Table[Any]] = module_of(name, "tables").TABLES
    for table in found:
        if table.kind is not None and table.kind not in model.kinds:
            raise TypeError(f"the table {table.name!r} of {name} has rows of {table.kind}, which {name} does not read")
    return found


def fold_of(name: str) -> Callable[[Sequence[Advance]], Any]:
    """The pure function of the read model's ``projection`` module. Raises UnknownReadModelError."""
    found: Callable[[Sequence[Advance]], Any] = module_of(name, "projection").fold
    return found
