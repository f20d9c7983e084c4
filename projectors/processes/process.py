"""A process manager, pure: what it reads, what it knows, what it does next. No clock, no I/O, no driver.

    correlate(event)      → the id of the process that the event is for, or None
    evolve(state, input)  → state           (None before the start)
    decide(state, input)  → effects         (``state`` is what ``evolve`` has just returned for this input)

What the runtime guarantees to these functions, for each process:

- An input is given to them once, however often its message is delivered, and inputs one after another, each with the state after the
  one before.
- The first input is one of ``starts``. What arrives before it waits, and follows it in the order of arrival. Events of the kind
  ``kinds[0]``, whose streams begin the processes, are the exception: order within a stream is guaranteed, so before a start they are
  of no process.
- State, timers and commands of an input are written in one transaction, or none of them. Each command has one outcome, which comes back as
  an input, once; a command is sent again until it has.
- A timer fires at most once, never after it was cancelled or set again, and never after ``Done``.
- An error raised here fails this process only: its later inputs wait in order for an operator's ``retry``.

After ``Done``, events and outcomes still reach ``evolve`` and ``decide``, which may send commands (a payment that comes late is refunded)
but set no timers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from shared.contracts.values import EventData, Upcaster


class EventInput(msgspec.Struct, frozen=True, gc=False):
    """An event of one of the process manager's ``kinds``."""

    id: str
    """``<stream>@<version>``."""
    at: datetime
    stream: str
    version: int
    type: str
    data: EventData
    traceparent: str | None = None
    """The trace that it belongs to; of no meaning to a process."""


class OutcomeInput(msgspec.Struct, frozen=True, gc=False):
    """The outcome of a command that this process has sent."""

    id: str
    at: datetime
    key: str
    """The name that the process gave the command (``Send.key``)."""
    command_id: str
    command_type: str
    accepted: bool
    stream: str = ""
    """``stream`` and ``version`` if it was accepted: where it took effect."""
    version: int = 0
    code: str = ""
    """``code`` and ``message`` if it was rejected."""
    message: str = ""
    traceparent: str | None = None
    """The trace of what led to the command; of no meaning to a process."""


class TimerInput(msgspec.Struct, frozen=True, gc=False):
    """A timer of this process that is due."""

    id: str
    """The token of this setting of the timer."""
    at: datetime
    name: str


class Act(StrEnum):
    """What an operator asks of a process. What ``cancel`` and ``compensate`` do is the process's to decide."""

    RETRY = "retry"
    """A failed process decides again what it failed on, without this input. Any other process decides on this input."""
    CANCEL = "cancel"
    COMPENSATE = "compensate"


class OperatorInput(msgspec.Struct, frozen=True, gc=False):
    id: str
    at: datetime
    act: Act
    actor: str
    reason: str


Input = EventInput | OutcomeInput | TimerInput | OperatorInput


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send a command. Its id is ``<process manager>/<process id>/<input id>/<n>``: decided again, it has its effect once."""

    type: str
    """As in the contract, e.g. ``orders.cancel-order``."""
    subject: str
    """The id of what it is about; its stream is ``<kind>/<subject>``."""
    data: Mapping[str, Any]
    """The command's data as JSON: texts, numbers, lists, mappings; times as RFC 3339 text."""
    key: str
    """The process's own name for it, e.g. ``reserve:<product>``: its outcome comes back with it."""


class Timer(msgspec.Struct, frozen=True, gc=False):
    """Set the timer of this name, in place of an earlier one of that name: ``after`` from now by the database's clock, or ``at`` a time."""

    name: str
    after: timedelta | None = None
    at: datetime | None = None


class CancelTimer(msgspec.Struct, frozen=True, gc=False):
    """Cancel the timer of this name, if it is set."""

    name: str


class Done(msgspec.Struct, frozen=True, gc=False):
    """The process is finished, with a result for people, e.g. ``confirmed``. All its timers are cancelled."""

    result: str


Effect = Send | Timer | CancelTimer | Done


class ProcessState(msgspec.Struct, frozen=True, gc=False):
    """What a process has to know to decide. Stored as JSON; it contains no event classes, which change with versions of their own."""


@dataclass(frozen=True)
class Rules:
    """How processes that began with one version behave."""

    evolve: Callable[[Any, Any], ProcessState]
    decide: Callable[[Any, Any], Sequence[Effect]]
    waiting_for: Callable[[Any], Sequence[str]] = lambda _: ()
    """What a process in this state waits for, as keys for people and filters, e.g. ``payment``. Empty once it is finished."""


@dataclass(frozen=True)
class ProcessManager:
    """One process manager, declared as ``PROCESS`` in ``projectors/processes/<name>/process.py``."""

    name: str
    kinds: Sequence[str]
    """The kinds of stream that it reads, first that of the streams that begin processes."""
    starts: frozenset[type[EventData]]
    """The events that begin a process, if ``correlate`` gives one an id. Another of them, later, is an input like any other."""
    correlate: Callable[[EventInput], str | None]
    """The id of the process that the event is for; None: it is for none. (Outcomes, timers and acts know their process.)"""
    state: type[ProcessState]
    rules: Rules
    version: int = 1
    """The version of ``rules``. A process keeps the version that it began with."""
    earlier: Mapping[int, Rules] = field(default_factory=dict)
    """The rules of earlier versions, while processes of these are unfinished."""
    state_version: int = 1
    """The version of ``state``: increment it with every change of its shape or meaning."""
    upcasters: Mapping[int, Upcaster] = field(default_factory=dict)
    """State version → what turns its JSON into that of the next version."""
