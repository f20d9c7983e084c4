"""The shared part of the pure projections: folds a batch into rows, and attributes every error to its event."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from projectors.stores.port import Advance, Event, ProjectionError

Fields = dict[str, Any]
"""A row's or a document's fields by name; plain values that JSON can hold, and parts of events."""


class MissingRowError(LookupError):
    """An event changes a row that does not exist: the event that creates it was discarded, or never applied."""


def each_event(advances: Sequence[Advance], apply: Callable[[Event], None]) -> None:
    """Call ``apply`` with every event, each stream's in order and up to its first failure.

    Raises one ProjectionError with all failures and their causes.
    """
    failures: list[tuple[Event, Exception]] = []
    for advance in advances:
        for event in advance.events:
            try:
                apply(event)
            except Exception as error:
                failures.append((event, error))
                break
    if failures:
        (event, cause), *others = failures
        raise ProjectionError(event, *others) from cause


@dataclass(slots=True)
class Rows:
    """A batch's changes to one table: new rows, with all fields; and the changed fields of existing rows.

    No row has to be read, because every event contains what its readers need.
    """

    created: dict[str, Fields] = field(default_factory=dict)
    changed: dict[str, Fields] = field(default_factory=dict)
    changed_by: dict[str, Event] = field(default_factory=dict)
    """For each row that is not new in this batch, the first event that changes it."""

    def create(self, key: str, fields: Fields) -> None:
        self.created[key] = fields
        self.changed.pop(key, None)
        self.changed_by.pop(key, None)

    def change(self, key: str, fields: Fields, event: Event) -> None:
        row = self.created.get(key)
        if row is None:
            row = self.changed.setdefault(key, {})
            self.changed_by.setdefault(key, event)
        row.update(fields)

    def require(self, found: Iterable[str]) -> None:
        """Raises ProjectionError for the changed rows that are not among those ``found`` in the store."""
        present = set(found)
        missing = [
            (event, MissingRowError(f"no row {key!r} for {event.type} to change"))
            for key, event in self.changed_by.items()
            if key not in present
        ]
        if missing:
            (event, cause), *others = missing
            raise ProjectionError(event, *others) from cause
