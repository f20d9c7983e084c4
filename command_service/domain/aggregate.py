"""What an aggregate is: two pure functions and the names they go by. No clock, no I/O: ``now`` is an argument.

    decide(state, command, now) → events, or Refused
    evolve(state, event)        → state

Both are total over the types they name; handling a command never needs anything else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from shared.contracts.values import CommandData, EventData


class State(msgspec.Struct, frozen=True, gc=False):
    """The state that decisions about one stream need; kept inline in the event store, as JSON.

    It holds no class of events: those change with their own schema versions, and state with the aggregate's ``state_version``.
    """


class Refused(Exception):  # an answer, not a failure
    """The domain says no. ``code`` is stable and kebab-case, for programs; the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Claim:
    """``value`` is taken once within ``scope``, until it is released; whoever wants it meanwhile is refused with ``code``."""

    scope: str
    value: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Claims:
    take: Sequence[Claim] = ()
    release: Sequence[tuple[str, str]] = ()
    """(scope, value)"""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One kind of stream: ``<kind>/<id>``. ``creates`` names, per creating command, the field that holds the new id."""

    kind: str
    state: type[State]
    decide: Callable[[Any, Any, datetime], Sequence[EventData]]
    evolve: Callable[[Any, Any], State]
    commands: frozenset[type[CommandData]]
    creates: Mapping[type[CommandData], str]
    claims: Callable[[EventData], Claims] = lambda _: Claims()
    state_version: int = 1
    """Of ``state``: to be raised with every change of its shape or meaning. State of another version is made anew from the events."""

    def restored(self, kept: str, version: int) -> State | None:
        """The state that is kept as JSON; None: it does not fit, and the stream has to be replayed."""
        if version != self.state_version:
            return None
        try:
            return msgspec.json.decode(kept, type=self.state)
        except msgspec.DecodeError:  # its shape has changed, and its version has been forgotten
            return None

    def id_in(self, command: CommandData) -> str | None:
        """The id that the command's own data gives its subject, where it does."""
        field = self.creates.get(type(command))
        return None if field is None else str(getattr(command, field))
