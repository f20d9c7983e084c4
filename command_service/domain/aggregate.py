"""The aggregate interface: two pure functions and their metadata. No clock, no I/O: ``now`` is an argument.

    decide(state, command, now) → events, or Refused
    evolve(state, event)        → state

Both are total over their argument types. A decision that borrows facts from other streams (``borrows``) gets them as a fourth argument:
they are read when the command is decided, and its events record them, so that no reader has to look them up later.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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


Facts = Mapping[str, str]
"""Stream → the borrowed field of its state. A stream that does not exist, or whose field is empty, is left out."""


@dataclass(frozen=True, slots=True)
class Borrowed:
    """``field``, a text, of the state of streams ``<kind>/<id>``, for each id that ``ids`` finds in the command. A kind lends one field."""

    kind: str
    field: str
    ids: Callable[[Any], Iterable[str]]
    since: int = 1
    """The first ``state_version`` of that kind in which the field has today's meaning. State of older versions is replayed first."""


def never_closed(_: Any) -> bool:
    """False: streams of this kind have no end."""
    return False


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One kind of stream: ``<kind>/<id>``. ``creates``: creating command → the field that holds the new id."""

    kind: str
    state: type[State]
    decide: Callable[..., Sequence[EventData]]
    """(state, command, now), and Facts for a command that ``borrows``."""
    evolve: Callable[[Any, Any], State]
    commands: frozenset[type[CommandData]]
    creates: Mapping[type[CommandData], str]
    claims: Callable[[EventData], Claims] = lambda _: Claims()
    personal_claims: frozenset[str] = frozenset()
    """The scopes of claims whose values are personal data: they are recorded as keyed hashes, and freed when the person is erased."""
    borrows: Mapping[type[CommandData], Sequence[Borrowed]] = field(default_factory=dict)
    """Command → the facts of other streams that its decision needs."""
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
        name = self.creates.get(type(command))
        return None if name is None else str(getattr(command, name))
