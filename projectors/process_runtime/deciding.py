"""Decides a process's inputs, one after another: pure. Nothing of an input is kept unless all of it succeeded.

    awaiting-start ──start──▶ running ──Done──▶ done
                                 │ ▲              │
             an input is raised on │ └── retry ─────┘ (a late input, too, may fail)
                                 ▼
                               failed: this input and all after it wait, in order

- The start is decided first; what has arrived before it follows in the order of arrival.
- A timer's input counts only while its token is that of the timer which is set: otherwise it is stale, and changes nothing.
"""

import json
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

import msgspec

from projectors.process_runtime.inputs import from_json
from projectors.processes.process import (
    Act,
    CancelTimer,
    Done,
    Effect,
    EventInput,
    Input,
    OperatorInput,
    OutcomeInput,
    ProcessManager,
    ProcessState,
    Rules,
    Send,
    Timer,
    TimerInput,
)
from shared.contracts.registry import COMMANDS
from shared.processes import source_of

MAX_ID_PREFIX: Final = 80
DIGITS: Final = 32
MAX_EXCEPTION: Final = 2000
NOT_DECIDED: Final = 0
"""``decided`` of an input that ``evolve`` and ``decide`` have not been given: the retry of a failed process, a stale timer."""


class Status(StrEnum):
    AWAITING_START = "awaiting-start"
    RUNNING = "running"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class StoredInput:
    """A row of the history that is not decided yet; decoded only when it is its turn, as that may fail."""

    number: int
    kind: str
    id: str
    at: datetime
    body: str


@dataclass(frozen=True, slots=True)
class RecordedInput:
    """An input that has just arrived. ``decided``: its place in the order of decisions; None: it waits."""

    number: int
    given: Input
    decided: int | None


@dataclass(frozen=True, slots=True)
class NewCommand:
    command_id: str
    input_id: str
    key: str
    type: str
    subject: str
    data: str
    actor: str
    traceparent: str | None = None
    """Of the input that has led to it."""


@dataclass(slots=True)
class Process:
    """A process as loaded and, after ``advance``, as it is to be stored."""

    id: str
    status: Status = Status.AWAITING_START
    version: int | None = None
    state_version: int | None = None
    state: str | None = None
    """JSON, of ``state_version``."""
    waiting_for: Sequence[str] = ()
    result: str | None = None
    failure: str | None = None
    """JSON."""
    received: int = 0
    decided: int = 0
    started_at: datetime | None = None
    done_at: datetime | None = None
    timers: dict[str, str] = field(default_factory=dict)
    """Name → token."""
    waiting: list[StoredInput] = field(default_factory=list)
    current: ProcessState | None = None
    """``state``, once it has been decoded."""


@dataclass(slots=True)
class Progress:
    """What ``advance`` has done to a process, besides changing it."""

    process: Process
    inputs: list[RecordedInput] = field(default_factory=list)
    decided_later: list[tuple[int, int]] = field(default_factory=list)
    """(number, decided) of inputs that had waited."""
    commands: list[NewCommand] = field(default_factory=list)
    timers: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    """Name → (token, due) of timers that are set."""
    cancelled: set[str] = field(default_factory=set)
    """Names of timers whose earlier rows are deleted."""
    stale: int = 0
    """Inputs of timers that were no longer set."""
    failure_before: str | None = None
    """The process's failure before: if it differs, the timers have to be held, or no longer."""


def is_start(manager: ProcessManager, given: Input) -> bool:
    return isinstance(given, EventInput) and type(given.data) in manager.starts


def is_kept_early(manager: ProcessManager, given: Input) -> bool:
    """Whether an input that comes before the start waits for it: not if the stream would have begun the process by an earlier event."""
    return isinstance(given, EventInput) and given.stream.partition("/")[0] != manager.kinds[0]


def advance(manager: ProcessManager, process: Process, arrived: Sequence[Input], now: datetime) -> Progress:
    """Decide what waits, if it can be decided now, and what has arrived. ``now``: the database's time. Raises nothing."""
    progress = Progress(process, failure_before=process.failure)
    queue: list[tuple[Input | StoredInput, int | None]] = [(each, each.number) for each in process.waiting]
    for given in arrived:
        if isinstance(given, OperatorInput) and given.act is Act.RETRY and process.status is Status.FAILED:
            process.status, process.failure = _status(process), None
            process.received += 1
            progress.inputs.append(RecordedInput(process.received, given, NOT_DECIDED))
        elif process.status is Status.AWAITING_START and is_start(manager, given):
            process.status, process.version, process.started_at = Status.RUNNING, manager.version, now
            queue.insert(0, (given, None))
        else:
            queue.append((given, None))
    process.waiting = []
    for item, number in queue:
        _next(manager, process, item, number, progress, now)
    return progress


def _next(
    manager: ProcessManager,
    process: Process,
    item: Input | StoredInput,
    number: int | None,
    progress: Progress,
    now: datetime,
) -> None:
    """Decide one input, or let it wait."""
    if isinstance(item, TimerInput) and process.timers.get(item.name) != item.id:
        progress.stale += 1
        return
    if isinstance(item, TimerInput) and process.status is Status.FAILED:
        return  # it stays set, and fires after the retry, if nothing has cancelled it by then
    decided = None
    if process.status in (Status.RUNNING, Status.DONE):
        try:
            given = item if not isinstance(item, StoredInput) else from_json(item.kind, item.id, item.at, item.body)
            if isinstance(given, TimerInput) and process.timers.get(given.name) != given.id:
                progress.stale += 1
                decided = NOT_DECIDED
            else:
                _decide(manager, process, given, progress, now)
                process.decided += 1
                decided = process.decided
        except Exception as error:  # whatever the process's own code raises fails this process, and no other
            process.status, process.failure = Status.FAILED, _failure(item.id, error, now)
    if number is None and not isinstance(item, StoredInput):
        process.received += 1
        progress.inputs.append(RecordedInput(process.received, item, decided))
    elif number is not None and decided is not None:
        progress.decided_later.append((number, decided))


def _decide(manager: ProcessManager, process: Process, given: Input, progress: Progress, now: datetime) -> None:
    rules = rules_of(manager, process.version)
    state = rules.evolve(process.current or state_of(manager, process), given)
    effects = rules.decide(state, given)
    done = next((effect.result for effect in effects if isinstance(effect, Done)), None)
    finished = process.result if done is None else done
    waiting_for = tuple(dict.fromkeys(rules.waiting_for(state))) if finished is None else ()
    stored = msgspec.json.encode(state).decode()
    commands = _commands(manager, process, given, effects)
    timers = _timers(process, effects, finished, now)
    # Nothing below fails.
    process.state, process.state_version, process.current = stored, manager.state_version, state
    process.waiting_for = waiting_for
    if isinstance(given, TimerInput):
        _cancel(process, progress, given.name)
    for effect in effects:
        if isinstance(effect, CancelTimer):
            _cancel(process, progress, effect.name)
        elif isinstance(effect, Timer):
            _cancel(process, progress, effect.name)
            token, due_at = timers[effect.name]
            process.timers[effect.name] = token
            progress.timers[effect.name] = (token, due_at)
    if done is not None:
        for name in list(process.timers):
            _cancel(process, progress, name)
        process.status, process.result = Status.DONE, done
        process.done_at = process.done_at or now
    progress.commands += commands


def rules_of(manager: ProcessManager, version: int | None) -> Rules:
    """The rules of the version that a process began with. Raises LookupError if they are gone."""
    if version == manager.version or version is None:
        return manager.rules
    try:
        return manager.earlier[version]
    except KeyError:
        raise LookupError(f"the rules of version {version} are gone: keep them in `earlier`, or migrate") from None


def state_of(manager: ProcessManager, process: Process) -> ProcessState | None:
    """The state in its current class. Raises LookupError where an upcaster is missing, msgspec.ValidationError."""
    if process.state is None:
        return None
    data: dict[str, Any] = msgspec.json.decode(process.state)
    for version in range(process.state_version or 1, manager.state_version):
        if version not in manager.upcasters:
            raise LookupError(f"no upcaster for the state of {manager.name} from version {version}")
        data = manager.upcasters[version](data)
    return msgspec.convert(data, manager.state)


def command_id(process: str, input_id: str, number: int) -> str:
    """Deterministic, and an id as the contracts allow: input ids are long, and contain slashes."""
    digest = sha256(f"{process}/{input_id}".encode()).hexdigest()[:DIGITS]
    return f"{process[:MAX_ID_PREFIX]}:{digest}:{number}"


def _commands(
    manager: ProcessManager, process: Process, given: Input, effects: Sequence[Effect]
) -> Sequence[NewCommand]:
    sends = [effect for effect in effects if isinstance(effect, Send)]
    if unknown := [each.type for each in sends if each.type not in COMMANDS]:
        raise ValueError(f"{', '.join(unknown)}: no context has this command")
    actor = given.actor if isinstance(given, OperatorInput) else source_of(manager.name)
    return [
        NewCommand(
            command_id(process.id, given.id, number),
            given.id,
            each.key,
            each.type,
            each.subject,
            json.dumps(dict(each.data), allow_nan=False),
            actor,
            given.traceparent if isinstance(given, EventInput | OutcomeInput) else None,
        )
        for number, each in enumerate(sends, start=1)
    ]


def _timers(
    process: Process, effects: Sequence[Effect], finished: str | None, now: datetime
) -> dict[str, tuple[str, datetime]]:
    """Name → (token, due) of the timers that are set; the last setting of a name counts."""
    found = {}
    for number, effect in enumerate(effects, start=1):
        if isinstance(effect, Timer):
            if finished is not None:
                raise ValueError(f"a finished process sets no timer, and {effect.name!r} is one")
            due_at = effect.at if effect.after is None else now + effect.after
            if due_at is None or due_at.tzinfo is None:
                raise ValueError(f"the timer {effect.name!r} needs either `after` or `at`, a time with a time zone")
            found[effect.name] = (f"{effect.name}@{process.decided + 1}.{number}", due_at)
    return found


def _cancel(process: Process, progress: Progress, name: str) -> None:
    process.timers.pop(name, None)
    progress.timers.pop(name, None)
    progress.cancelled.add(name)


def _status(process: Process) -> Status:
    return Status.RUNNING if process.result is None else Status.DONE


def _failure(input_id: str, error: Exception, now: datetime) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f"{where[0].name} in {where[0].filename.rpartition('/')[2]}" if where else "?"
    kind = type(error).__name__
    text = f"{kind}: {error}"[:MAX_EXCEPTION].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return json.dumps(
        {"input_id": input_id, "exception": text, "fingerprint": f"{kind} at {place}", "at": now.isoformat()}
    )
