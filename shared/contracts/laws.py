"""Conservation laws: what the events of a system must add up to, whatever happened in between. ``tidemark verify`` checks them.

A law adds up the amounts that events state, for each key, over all streams that state something of it:

    event ──amounts──▶ (key, {name: amount}) ──added up──▶ totals of the key ──broken──▶ what is wrong, or None
                                                                 └──stated──▶ the numbers that every read model must have for the key

A context declares its laws as ``LAWS`` in its contract. They are independent of projections: a read model that is a faithful fold of its
events, by a wrong rule, breaks them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from shared.contracts.values import EventData

Totals = Mapping[str, int]
"""Name → the sum of its amounts; a name that no event has stated is missing."""


@dataclass(frozen=True, kw_only=True)
class Law:
    name: str
    """For programs, in kebab-case."""
    statement: str
    """For people."""
    kind: str
    """The kind of stream that keys are ids of: a broken law is reported at ``<kind>/<key>``."""
    events: frozenset[type[EventData]]
    """Those that state amounts."""
    amounts: Callable[[EventData], tuple[str, Totals]]
    """The key and the amounts of one of ``events``. Amounts may be negative."""
    broken: Callable[[Totals], str | None]
    """What is wrong with these totals, for people."""
    stated: Mapping[str, Callable[[Totals], int]] = field(default_factory=dict)
    """Field or column → the number that a row of ``kind`` which has it must state."""


def totals(law: Law, events: Iterable[EventData]) -> dict[str, dict[str, int]]:
    """By key. Events that the law does not count are ignored."""
    found: dict[str, dict[str, int]] = {}
    for event in events:
        if type(event) in law.events:
            key, amounts = law.amounts(event)
            added = found.setdefault(key, {})
            for name, amount in amounts.items():
                added[name] = added.get(name, 0) + amount
    return found
