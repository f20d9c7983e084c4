"""The aggregate interface: two pure functions and their metadata. No clock, no I/O: ``now`` is an argument.

    decide(state, command, now) → events, or Refused
    evolve(state, event)        → state

Both are total over their argument types; handling a command needs nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from shared.contracts.values import CommandData, EventData


class State(msgspec.Struct, frozen=True, gc=False):
    """The state needed for decisions about one stream; stored with the stream in the event store, as JSON.

    It contains no event classes: these change with their own schema versions, state with the aggregate's ``state_version``.
    """


class Refused(Exception):  # a result, not a failure
    """A business rule refuses the command. ``code`` is stable and kebab-case, for programs; the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Claim:
    """``value`` is unique within ``scope`` until it is released; another command that claims it is refused with ``code``."""

    scope: str
    value: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Claims:
    take: Sequence[Claim] = ()
    release: Sequence[tuple[str, str]] = ()
    """(scope, value)"""


def never_closed(_: Any) -> bool:
    """Whether a stream of a kind that has no end is closed."""
    return False


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One kind of stream: ``<kind>/<id>``. ``creates``: creating command → the field that holds the new id."""

    kind: str
    state: type[State]
    decide: Callable[[Any, Any, datetime], Sequence[EventData]]
    evolve: Callable[[Any, Any], State]
    commands: frozenset[type[CommandData]]
    creates: Mapping[type[CommandData], str]
    claims: Callable[[EventData], Claims] = lambda _: Claims()
    state_version: int = 1
    """The version of ``state``: increment it with every change of its shape or meaning. State of other versions is replayed from events."""
    closed: Callable[[Any], bool] = never_closed
    """Whether a stream in this state is finished: no further event is to be expected, so its events may be archived when they are old."""

    def restored(self, kept: str, version: int) -> State | None:
        """The state from its stored JSON; None: its version or shape differs, and the stream has to be replayed."""
        if version != self.state_version:
            return None
        try:
            return msgspec.json.decode(kept, type=self.state)
        except msgspec.DecodeError:  # the shape has changed without a new state_version
            return None

    def id_in(self, command: CommandData) -> str | None:
        """The id of the subject in the command's own data, if it has one."""
        field = self.creates.get(type(command))
        return None if field is None else str(getattr(command, field))
