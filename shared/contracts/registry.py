"""All contexts together: the class behind a message's type, and how an old event becomes a current one.

Commands are found by type; events by (type, schema version). An event of an older schema version is lifted step by step
by its upcasters, on plain JSON, before its class is built: projections and ``evolve`` only ever see the current shape.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

import msgspec

from shared.contracts import contexts, refusals
from shared.contracts.laws import Law
from shared.contracts.refusals import Refusal
from shared.contracts.values import CommandData, EventData, Upcaster


class UnknownEventError(LookupError):
    """No class, or no path of upcasters, for this event type and schema version."""


_CONTEXTS: Final = [context for context in vars(contexts).values() if isinstance(context, ModuleType)]


def _collected(name: str) -> dict[Any, Any]:
    """What the contexts declare under this name, as one mapping. Raises TypeError where two declare the same."""
    found: dict[Any, Any] = {}
    for context in _CONTEXTS:
        for key, value in getattr(context, name).items():
            if key in found:
                raise TypeError(f"{context.__name__}.{name} declares {key!r}, which another context has declared")
            found[key] = value
    return found


NAMES: Final[tuple[str, ...]] = tuple(context.__name__.rpartition(".")[2] for context in _CONTEXTS)
"""Every context, by the name of its module: ``orders``."""

KINDS: Final[tuple[str, ...]] = tuple(kind for context in _CONTEXTS for kind in context.KINDS)
"""Every kind of stream there is, ``<kind>/<id>``."""

CONTEXT_OF_KIND: Final[Mapping[str, str]] = {
    kind: name for name, context in zip(NAMES, _CONTEXTS, strict=True) for kind in context.KINDS
}

KINDS_OF: Final[Mapping[type[EventData], tuple[str, ...]]] = {
    cls: tuple(context.KINDS) for context in _CONTEXTS for cls in context.EVENTS
}
"""Each event class and the kinds of stream of its context: it is an event of one of them."""

COMMANDS: Final[Mapping[str, type[CommandData]]] = _collected("COMMANDS")

EXACT_NUMBERS: Final = frozenset(name for name, contract in COMMANDS.items() if contract.exact_numbers)
"""The types of command whose numbers are parsed with every digit."""

EVENTS: Final[Mapping[type[EventData], tuple[str, int]]] = _collected("EVENTS")
"""Each event class, its type in messages, and the schema version that is written today."""

UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = _collected("UPCASTERS")
"""(event type, schema version) → what turns its data into that of the next schema version."""

REFUSALS: Final[Mapping[str, Refusal]] = {**refusals.REFUSALS, **_collected("REFUSALS")}
"""Every code of a ``command.rejected``."""

LAWS: Final[tuple[Law, ...]] = tuple(law for context in _CONTEXTS for law in getattr(context, "LAWS", ()))
"""What the events of all contexts must add up to."""

_CURRENT: Final = {name: (version, cls) for cls, (name, version) in EVENTS.items()}


def event_data(event_type: str, schema_version: int, data: Mapping[str, Any]) -> EventData:
    """The event's data in its current class, lifted over as many schema versions as it takes.

    Raises UnknownEventError for a type or version that is not declared, msgspec.ValidationError for data that does not fit.
    """
    try:
        current, cls = _CURRENT[event_type]
    except KeyError as error:
        raise UnknownEventError(f"unknown event type {event_type!r}") from error
    for version in range(schema_version, current):
        upcast = UPCASTERS.get((event_type, version))
        if upcast is None:
            raise UnknownEventError(f"no upcaster for {event_type!r} from schema version {version}")
        data = upcast(data)
    if schema_version > current:
        raise UnknownEventError(f"{event_type!r} has schema version {schema_version}; the newest known is {current}")
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError as error:  # which says where in the data, and not of what
        raise msgspec.ValidationError(f"{cls.__name__}: {error}") from error
