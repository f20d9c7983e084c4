"""Messages on ``changes``: the streams that a projection has just advanced, to which version, and those that it now holds; and the
state of each process.

They wake listeners, and nothing depends on them: they are published after the commit, without waiting for the broker, so a message may
be lost, duplicated or late. The store has the truth about what is applied.
"""

from collections.abc import Mapping
from typing import Final

from shared.contracts.values import Label
from shared.messages.control import ControlData, Request

ADVANCED: Final = "projection.advanced"
MAX_STREAMS: Final = 1000


class Advanced(ControlData):
    """One commit of a projection, or a part of a large one."""

    projection: str
    generation: int = 1
    streams: tuple[tuple[str, int], ...] = ()
    """(stream, version): all events of the stream up to this version are applied, or have been discarded."""
    held: tuple[tuple[str, int], ...] = ()
    """(stream, version): the event that the stream waits for, or at which it is dead; the hold in the store has which."""


ACTIVATED: Final = "projection.activated"


class Activated(ControlData):
    """Queries read this generation from now on, as recorded in the store's registry."""

    projection: str
    generation: int


class AdvancedMessage(Request[Advanced]):
    """The envelope of ``Advanced``; its ``type`` is ADVANCED."""


class ActivatedMessage(Request[Activated]):
    """The envelope of ``Activated``; its ``type`` is ACTIVATED. Same exchange, same routing key."""


PROCESS_STATE: Final = "process.state"


class ProcessState(ControlData):
    """A process's state, once a second. ``troubles``: component → what keeps it from making progress; empty: healthy."""

    process: str
    instance: str
    """Distinguishes processes with the same name."""
    troubles: Mapping[str, str] = {}
    leaving: bool = False
    """Its last announcement: it was asked to stop."""


class ProcessAnnounced(Request[ProcessState]):
    """The envelope of ``ProcessState``; its ``type`` is PROCESS_STATE."""


STARTED: Final = "process.started"


class Started(ControlData):
    """A process has started. Recorded in the audit if the one of that name before it had another version."""

    process: Label
    version: Label
    """The package's, and after a plus the build, where the deployment names it."""
    host: Label
