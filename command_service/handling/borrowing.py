"""What decisions borrow from other streams: declared by aggregates (``Aggregate.borrows``), read once for a batch, current within it. Pure.

A decision sees what was committed before its batch was loaded, and what earlier commands of the batch have changed. The streams that facts
are borrowed from are not locked: to a change that commits a moment later, the decision came first.

A stream whose kept state is too old for the field is replayed, as if a command of its own had come. If that fails, its fact is unknown:
no stream may keep the commands of others from being decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from command_service.domain.aggregate import Aggregate, Borrowed, State
from command_service.domain.aggregates import AGGREGATES
from command_service.handling.parsing import Command, Task

AGGREGATE_OF: Final[Mapping[str, Aggregate]] = {aggregate.kind: aggregate for aggregate in AGGREGATES}


def _lent(aggregates: Sequence[Aggregate]) -> dict[str, Borrowed]:
    """By kind. Raises TypeError for a kind of which two fields are borrowed: facts are stored by stream."""
    found: dict[str, Borrowed] = {}
    for each in (one for aggregate in aggregates for several in aggregate.borrows.values() for one in several):
        known = found.setdefault(each.kind, each)
        if (known.field, known.since) != (each.field, each.since):
            raise TypeError(f"{each.kind} lends {known.field} already, and cannot lend {each.field}")
    return found


LENT: Final[Mapping[str, Borrowed]] = _lent(AGGREGATES)


class WantedField(NamedTuple):
    """A field of one kind of stream, and the versions of its state in which it has today's meaning."""

    kind: str
    field: str
    since: int
    latest: int


FIELDS: Final = [
    WantedField(each.kind, each.field, each.since, AGGREGATE_OF[each.kind].state_version) for each in LENT.values()
]


@dataclass(slots=True)
class BorrowedFacts:
    """``known``: see ``Facts``. ``outdated``: streams whose kept state is too old to be read."""

    known: dict[str, str] = field(default_factory=dict)
    outdated: set[str] = field(default_factory=set)

    def copy(self) -> "BorrowedFacts":
        return BorrowedFacts(dict(self.known), set(self.outdated))

    def update(self, kind: str, stream: str, state: State | None) -> None:
        """Take what is borrowed from this kind from the stream's current state."""
        if (lent := LENT.get(kind)) is None:
            return
        if value := getattr(state, lent.field, None):
            self.known[stream] = value
        else:
            self.known.pop(stream, None)


def borrowed_streams(commands: Sequence[Command]) -> set[str]:
    """The streams that these commands borrow from; mostly none."""
    streams: set[str] = set()
    for command in commands:
        task = command.task
        if isinstance(task, Task):
            for each in task.aggregate.borrows.get(type(task.data), ()):
                streams.update(map(f"{each.kind}/".__add__, each.ids(task.data)))
    return streams
