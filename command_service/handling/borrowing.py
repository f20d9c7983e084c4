"""What decisions borrow from other streams: declared by aggregates (``Aggregate.borrows``), read once for a batch, current within it.

A decision sees what was committed before its batch was loaded, and what earlier commands of the batch have changed. The streams that facts
are borrowed from are not locked: a change that commits a moment later comes later.

A stream whose kept state is too old for the field is replayed, as if a command of its own had come. If that fails, its fact is unknown:
no stream may keep the commands of others from being decided.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from command_service.domain.aggregate import Aggregate, Borrowed, State
from command_service.domain.aggregates import AGGREGATES
from command_service.handling.parsing import Command, Task
from shared.runtime.postgres import Connection

BY_KIND: Final[Mapping[str, Aggregate]] = {aggregate.kind: aggregate for aggregate in AGGREGATES}
LENT: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset(
        each.field for one in AGGREGATES for every in one.borrows.values() for each in every if each.kind == kind
    )
    for kind in BY_KIND
}
"""Kind → the fields that other kinds borrow from its streams."""

FACTS: Final = """
SELECT field,
       coalesce(json_object_agg(stream, value) FILTER (WHERE fits AND value IS NOT NULL), '{}')::text AS facts,
       coalesce(array_agg(stream) FILTER (WHERE NOT fits), '{}') AS outdated,
       coalesce(array_agg(version) FILTER (WHERE NOT fits), '{}') AS versions
FROM (
    SELECT field, stream, version, state ->> field AS value, state_version BETWEEN since AND latest AS fits
    FROM streams JOIN unnest($2::text[], $3::text[], $4::integer[], $5::integer[]) AS borrowed (kind, field, since, latest)
        USING (kind)
    WHERE stream = ANY ($1::text[])
) found
GROUP BY field
"""

_FACTS: Final = msgspec.json.Decoder(dict[str, str])


@dataclass(slots=True)
class BorrowedFacts:
    """Field → stream → its value; and the streams whose kept state does not fit, with their versions."""

    known: dict[str, dict[str, str]] = field(default_factory=dict)
    outdated: dict[str, int] = field(default_factory=dict)

    def replayed(self, stream: str, state: State) -> None:
        del self.outdated[stream]
        self.update(stream, state)

    def update(self, stream: str, state: State | None) -> None:
        """Take the lent fields from the stream's new state."""
        for name in LENT.get(stream.partition("/")[0], ()):
            value = getattr(state, name, None)
            values = self.known.setdefault(name, {})
            if value:
                values[stream] = value
            else:
                values.pop(stream, None)
