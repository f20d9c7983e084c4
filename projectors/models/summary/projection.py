"""The summary's pure projection: every event becomes a history row, and most change one document.

event ──▶ history row, and by the rules of its context ──▶ a new document | fields of a document that change | rows of other tables
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from projectors.models.summary import baskets, bookings, customers, orders, payments, products, users
from projectors.models.summary.documents import Appended, Changes, Current, Documents, Row, Rule
from projectors.stores.folding import Fields, each_event
from projectors.stores.port import Advance, Event
from shared.contracts.values import EventData

DOCUMENTS: Final = (
    *(orders.DOCUMENTS, products.DOCUMENTS, customers.DOCUMENTS),
    *(bookings.DOCTORS, bookings.PATIENTS, bookings.BOOKINGS),
    users.DOCUMENTS,
    payments.DOCUMENTS,
)
APPENDED: Final = (products.PRICE_HISTORY, users.AUDIT)
CURRENT: Final = (baskets.BASKETS,)
"""All tables beside the history."""

HISTORY: Final = "history"


class HistoryRow(NamedTuple):
    """A row of ``history``."""

    stream: str
    version: int
    type: str
    at: datetime
    actor: str | None
    data: EventData


RULES: Final[Mapping[type[EventData], tuple[Documents, Rule]]] = {
    cls: (documents, rule) for documents in DOCUMENTS for cls, rule in documents.rules.items()
}
"""Every type of event that changes a document. Any other event becomes a history row only."""

_APPENDS: Final[Mapping[type[EventData], Sequence[tuple[Appended, Callable[[Event], Iterable[Row]]]]]] = {
    cls: [(table, table.rows[cls]) for table in APPENDED if cls in table.rows]
    for cls in {cls for table in APPENDED for cls in table.rows}
}
_CURRENT: Final[Mapping[type[EventData], Sequence[Current]]] = {
    cls: [table for table in CURRENT if cls in table.rows] for cls in {cls for table in CURRENT for cls in table.rows}
}


def fold(advances: Sequence[Advance]) -> Changes:
    """Raises ProjectionError."""
    changes = Changes()
    each_event(advances, lambda event: _apply(changes, event))
    return changes


def evolve(document: Fields, event: Event) -> Fields:
    """The document after the event; given an empty document, the fields that the event sets."""
    _, rule = RULES[type(event.data)]
    changed = rule.fields(event.data)
    return {**document, **changed, "updated_at": getattr(event.data, rule.at), "version": event.version}


def _apply(changes: Changes, event: Event) -> None:
    data = event.data
    found = RULES.get(type(data))
    at = event.time if found is None else getattr(data, found[1].at)
    changes.appended[HISTORY].append(HistoryRow(event.stream, event.version, event.type, at, event.actor, data))
    if found is not None:
        documents, rule = found
        rows = changes.documents[documents.name]
        key = getattr(data, documents.key)
        if rule.creates:
            rows.create(key, evolve({}, event))
        else:
            rows.change(key, evolve({}, event), event)
    for table, rows_of in _APPENDS.get(type(data), ()):
        changes.appended[table.name] += rows_of(event)
    for current in _CURRENT.get(type(data), ()):
        changes.current[current.name][getattr(data, current.key)] = current.rows[type(data)](data)
