"""What each context's module says of its part of the summary: tables of documents, and tables that events only append to.

    Documents: event ──RULES──▶ a new document | fields of a document that change          Appended: event ──▶ rows

A document is the JSON of its view in ``shared.views``; its table has some of its fields as columns too. Every change follows from its
event alone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from projectors.stores.folding import Fields, Rows
from projectors.stores.port import Event
from projectors.stores.tables import Table
from shared.contracts.values import EventData

Row = tuple[Any, ...]


@dataclass(slots=True)
class Changes:
    """All changes of a batch, by table."""

    documents: dict[str, Rows] = field(default_factory=lambda: defaultdict(Rows))
    appended: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))


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
