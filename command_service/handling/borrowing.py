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
_DECLARED: Final = [each for one in AGGREGATES for several in one.borrows.values() for each in several]
_LENT: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset(each.field for each in _DECLARED if each.kind == kind) for kind in AGGREGATE_OF
}
"""Kind → the fields that are borrowed from its streams."""


class WantedField(NamedTuple):
    """A field of one kind of stream, and the versions of its state in which it has today's meaning."""

    kind: str
    field: str
    since: int
    latest: int


@dataclass(slots=True)
class BorrowedFacts:
    """``by_field``: field → stream → its value. ``outdated``: streams whose kept state is too old to be read."""

    by_field: dict[str, dict[str, str]] = field(default_factory=dict)
    outdated: set[str] = field(default_factory=set)

    def copy(self) -> "BorrowedFacts":
        return BorrowedFacts({name: dict(values) for name, values in self.by_field.items()}, set(self.outdated))

    def update(self, kind: str, stream: str, state: State | None) -> None:
        """Take what is borrowed from this kind from the stream's current state."""
        for name in _LENT.get(kind, ()):
            values = self.by_field.setdefault(name, {})
            if value := getattr(state, name, None):
                values[stream] = value
            else:
                values.pop(stream, None)


def wanted(commands: Sequence[Command]) -> tuple[set[str], list[WantedField]]:
    """The streams whose fields these commands borrow, and the fields; mostly none."""
    streams: set[str] = set()
    fields: dict[Borrowed, WantedField] = {}
    for command in commands:
        task = command.task
        if not isinstance(task, Task):
            continue
        for each in task.aggregate.borrows.get(type(task.data), ()):
            fields.setdefault(
                each, WantedField(each.kind, each.field, each.since, AGGREGATE_OF[each.kind].state_version)
            )
            prefix = f"{each.kind}/"
            streams.update([prefix + one for one in each.ids(task.data)])
    return streams, list(fields.values())
