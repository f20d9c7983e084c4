"""The news on ``changes``: which streams a projection has just advanced, to which version, and which it has come to hold; and
how each process is.

News wake those who wait for them; nobody relies on them. They are published after the commit, without waiting for the broker: a notice
may be lost, or come twice, or late. What a store has applied, the store says.
"""

from collections.abc import Mapping
from typing import Final

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
    """(stream, version): the event that the stream waits for, or at which it is dead; its store's hold says which."""


ACTIVATED: Final = "projection.activated"


class Activated(ControlData):
    """Queries are to be answered from this generation from now on. The store's registry says the same."""

    projection: str
    generation: int


class AdvancedMessage(Request[Advanced]):
    """The envelope of ``Advanced``; its ``type`` is ADVANCED."""


class ActivatedMessage(Request[Activated]):
    """The envelope of ``Activated``; its ``type`` is ACTIVATED. Same exchange, same routing key."""


PROCESS_STATE: Final = "process.state"


class ProcessState(ControlData):
    """How a process is, once a second. ``troubles``: component → what keeps it from making progress; empty: it is well."""

    process: str
    instance: str
    """Of several processes of one name, which."""
    troubles: Mapping[str, str] = {}
    leaving: bool = False
    """Its last announcement: it was told to stop."""


class ProcessAnnounced(Request[ProcessState]):
    """The envelope of ``ProcessState``; its ``type`` is PROCESS_STATE."""
