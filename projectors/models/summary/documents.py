"""What each context's module says of its part of the summary: tables of documents, tables that events only append to, and tables of what
is current.

    Documents: event ──RULES──▶ a new document | fields of a document that change
    Appended:  event ──▶ rows                               Current: event ──▶ a stream's only row | none any more

A document is the JSON of its view in ``shared.views``; its table has some of its fields as columns too. Every change follows from its
event alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET

from projectors.stores.folding import Fields, Rows
from projectors.stores.port import Event
from projectors.stores.tables import Table
from shared.contracts.values import EventData, Fact

Row = tuple[Any, ...]


@dataclass(slots=True)
class Changes:
    """All changes of a batch, by table."""

    documents: dict[str, Rows] = field(default_factory=lambda: defaultdict(Rows))
    appended: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    current: dict[str, dict[str, Row | None]] = field(default_factory=lambda: defaultdict(dict))
    """By table and key; None: the row is removed."""


def known(facts: Mapping[str, Fact]) -> Fields:
    """Those that are known. The others are left out, as they are of documents from before the event had them."""
    return {name: value for name, value in facts.items() if value is not UNSET}


@dataclass(frozen=True, slots=True)
class Rule:
    """The effect of one type of event on its document: ``at`` is the event's field with the business time, which becomes ``updated_at``."""

    at: str
    fields: Callable[[Any], Fields]
    creates: bool = False


@dataclass(frozen=True, kw_only=True)
class Documents:
    """A table of documents. Table, kind of stream and the list in DOCUMENTS have one name."""

    name: str
    columns: Sequence[str]
    """The fields that are columns too, the key first."""
    create: str
    """An upsert. $1 and following: arrays of ``columns``, then of the documents."""
    change: str
    """$1: keys. $2: changed fields of each, as JSON. Returns the keys that were found."""
    rules: Mapping[type[EventData], Rule]
    """Every type of event that changes a document. Any other event of the kind becomes a history row only."""
    erase: str | None = None
    """Overwrites the personal data in the documents of persons who are erased. $1: keys. None: these are no persons."""

    @property
    def key(self) -> str:
        return self.columns[0]

    @property
    def table(self) -> Table[Changes]:
        def rows(changes: Changes) -> list[Mapping[str, Any]]:
            created = changes.documents[self.name].created.values()
            return [{name: document[name] for name in self.columns} | {"doc": document} for document in created]

        columns = (*self.columns, "doc")
        key = self.key
        return Table(name=self.name, columns=columns, key=(key,), stream=key, kind=self.name, rows=rows, json=("doc",))


@dataclass(frozen=True, kw_only=True)
class Appended:
    """A table that gets new rows only."""

    name: str
    columns: Sequence[str]
    key: Sequence[str]
    stream: str
    kind: str | None
    """See ``Table``."""
    insert: str
    """$1 and following: arrays of ``columns``."""
    rows: Mapping[type[EventData], Callable[[Event], Iterable[Row]]]
    """The rows that follow from an event of each type."""
    json: Sequence[str] = ()
    """Columns of type json or jsonb: their values in rows are encoded when they are written."""
    erase: str | None = None
    """As of ``Documents``; $1: values of the column ``stream``."""

    @property
    def table(self) -> Table[Changes]:
        def rows(changes: Changes) -> list[Mapping[str, Any]]:
            return [dict(zip(self.columns, row, strict=True)) for row in changes.appended[self.name]]

        return Table(
            name=self.name,
            columns=self.columns,
            key=self.key,
            stream=self.stream,
            kind=self.kind,
            rows=rows,
            json=self.json,
        )


@dataclass(frozen=True, kw_only=True)
class Current:
    """A table with at most one row for a stream: an event writes it, or removes it."""

    name: str
    columns: Sequence[str]
    """The key first: it is the stream's id, and a field of its events."""
    kind: str
    write: str
    """An upsert. $1 and following: arrays of ``columns``, as ``values`` gives them."""
    remove: str
    """$1: keys."""
    rows: Mapping[type[EventData], Callable[[Any], Row | None]]
    """The row that follows from an event of each type; None: there is none from then on."""
    values: Callable[[Row], Row]
    """A row as the parameters of ``write``."""

    @property
    def key(self) -> str:
        return self.columns[0]

    @property
    def table(self) -> Table[Changes]:
        def rows(changes: Changes) -> list[Mapping[str, Any]]:
            found = changes.current[self.name].values()
            return [dict(zip(self.columns, row, strict=True)) for row in found if row is not None]

        return Table(name=self.name, columns=self.columns, key=(self.key,), stream=self.key, kind=self.kind, rows=rows)
