"""Deciding a batch of commands in memory: pure, so that it can be repeated after a write conflict.

Commands are decided in order, each with the changes of those before it. The refusal or failure of one affects no other.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, NamedTuple

import msgspec

from command_service.domain.aggregate import Aggregate, Refused, State
from command_service.handling.borrowing import AGGREGATE_OF, BorrowedFacts
from command_service.handling.parsing import Command, CommandKey, Held, Invalid, Task
from command_service.privacy.personal_data import hashed_claim, is_same_command, kept_digest, require_not_erased
from shared.contracts.registry import EVENTS
from shared.contracts.values import EventData
from shared.messages.envelope import EventEnvelope
from shared.messages.outcomes import (
    ACCEPTED,
    REJECTED,
    Accepted,
    OutcomeEnvelope,
    Rejected,
    outcome_id,
    reuse_refusal_id,
)
from shared.privacy.sealing import Keys, opened, sealed

SOURCE: Final = "tidemark/command-service"
REUSED: Final = "idempotency-key-reused"
HANDLER_FAILED: Final = "handler-failed"

Kind = Literal["command.accepted", "command.rejected"]

ClaimKey = tuple[str, str]
"""(scope, value)"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a command; ``body`` is the envelope, the same bytes at every request."""

    body: bytes
    accepted: bool


@dataclass(frozen=True, slots=True)
class PriorOutcome:
    """A command handled before: its digest and its outcome."""

    digest: bytes
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no outcome yet, because of an error inside the service. ``reason``: stable, kebab-case, reported to clients.

    ``error``: raised by the decision; None: the command was not tried, as it is a dead letter already.
    """

    error: Exception | None
    reason: str = HANDLER_FAILED


@dataclass(frozen=True, slots=True)
class Scheduled:
    """There is no outcome yet: the command is to be decided at ``due_at``."""

    due_at: datetime


Result = Outcome | Failed | Scheduled


class StoredStream(NamedTuple):
    """A stream as stored: its version, and its state as JSON with its ``state_version``."""

    version: int
    state: str
    state_version: int


@dataclass(slots=True)
class StreamState:
    """A stream during the batch; ``loaded``: its stored version; ``replayed``: its stored state was outdated."""

    aggregate: Aggregate
    loaded: int
    version: int
    state: State | None
    replayed: bool = False

    def state_json(self, stream: str, keys: Keys) -> str:
        """As it is stored: personal texts are sealed. Raises KeyMissingError."""
        return "null" if self.state is None else msgspec.json.encode(sealed(self.state, stream, keys)).decode()


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A new event, serialised once: the same text goes into the event store and the outbox."""

    stream: str
    version: int
    type: str
    envelope: str


@dataclass(slots=True)
class LoadedStreams:
    """The database's content before the batch. ``claims`` has a key for each claim that was queried; None: it is free."""

    decided: Mapping[CommandKey, PriorOutcome] = field(default_factory=dict)
    scheduled: Mapping[CommandKey, bytes] = field(default_factory=dict)
    """The digests of commands that wait for their time."""
    streams: Mapping[str, StoredStream] = field(default_factory=dict)
    replayed: dict[str, State | Exception] = field(default_factory=dict)
    """The state of streams whose stored state is outdated, replayed from their events; or the error of the replay."""
    claims: dict[ClaimKey, str | None] = field(default_factory=dict)
    facts: BorrowedFacts = field(default_factory=BorrowedFacts)
    """What the commands borrow from other streams. Those whose state has to be replayed for it are in ``streams``."""
    epoch: str | None = None
    """The epoch of the database."""
    keys: Keys = field(default_factory=dict)
    """The keys of the persons whose data the commands have, and of those whose streams they change."""
    claims_secret: bytes = b""


@dataclass(slots=True)
class Batch:
    """The result of deciding a batch. It may be written only when ``missing`` and ``outdated`` are empty."""

    results: list[Result] = field(default_factory=list)
    """One for each command, in order."""
    decided: dict[CommandKey, tuple[Command, Outcome]] = field(default_factory=dict)
    """New outcomes."""
    streams: dict[str, StreamState] = field(default_factory=dict)
    events: list[NewEvent] = field(default_factory=list)
    claims: dict[ClaimKey, str | None] = field(default_factory=dict)
    """Each changed claim's stream after the batch; None: released."""
    missing: set[ClaimKey] = field(default_factory=set)
    """Claims that must be queried before this can be decided."""
    outdated: dict[str, Aggregate] = field(default_factory=dict)
    """Streams that must be replayed before this can be decided."""
    facts: BorrowedFacts = field(default_factory=BorrowedFacts)
    """What later commands borrow: as loaded, with the changes of the commands before them."""

    @property
    def is_complete(self) -> bool:
        return not (self.missing or self.outdated)

    def changed_streams(self) -> Iterable[tuple[str, StreamState]]:
        return ((name, current) for name, current in self.streams.items() if current.version != current.loaded)

    def restored_streams(self) -> Iterable[tuple[str, StreamState]]:
        """Unchanged streams whose replayed state is to be stored."""
        return (
            (name, current)
            for name, current in self.streams.items()
            if current.replayed and current.version == current.loaded
        )


Decide = Callable[[Sequence[Command], LoadedStreams, datetime], Batch]


def decide(commands: Sequence[Command], known: LoadedStreams, now: datetime) -> Batch:
    batch = Batch(facts=known.facts.copy())
    _replay_lenders(batch, known)
    for command in commands:
        batch.results.append(_handle(batch, command, known, now))
    return batch


def _replay_lenders(batch: Batch, known: LoadedStreams) -> None:
    """Streams whose kept state is too old to borrow from: usually none."""
    for stream in batch.facts.outdated:
        aggregate, row = AGGREGATE_OF[stream.partition("/")[0]], known.streams[stream]
        state = known.replayed.get(stream)
        if state is None:
            batch.outdated[stream] = aggregate
        elif not isinstance(state, Exception):
            batch.streams[stream] = StreamState(aggregate, row.version, row.version, state, replayed=True)
            batch.facts.update(aggregate.kind, stream, state)


def _handle(batch: Batch, command: Command, known: LoadedStreams, now: datetime) -> Result:
    before = known.decided.get(command.key)
    if before is None and command.key in batch.decided:
        earlier, outcome = batch.decided[command.key]
        before = PriorOutcome(earlier.digest, outcome)
    if before is not None:
        same = is_same_command(before.digest, command, known.keys, known.claims_secret)
        return before.outcome if same else _reused(command, known, now)
    waiting = known.scheduled.get(command.key, command.digest)
    if not is_same_command(waiting, command, known.keys, known.claims_secret):
        return _reused(command, known, now)
    if isinstance(command.task, Held):
        return Failed(None, command.task.reason)
    due_at = command.envelope.notbefore
    if due_at is not None and due_at > now and isinstance(command.task, Task):
        return Scheduled(due_at)
    try:
        outcome = _decide_one(batch, command, command.task, known, now)
    except Refused as refusal:
        outcome = rejection(command, refusal.code, refusal.message, now)
    except Exception as error:  # an error in one decision must not affect the others
        return Failed(error)
    batch.decided[command.key] = (command, outcome)
    return outcome


def _reused(command: Command, known: LoadedStreams, now: datetime) -> Outcome:
    """Not stored: what is under this key remains that of the first body."""
    shown = replace(command, digest=kept_digest(command, known.keys, known.claims_secret))
    return rejection(shown, REUSED, "this id was used before, for a command with another body", now)


def _decide_one(batch: Batch, command: Command, task: Task | Invalid, known: LoadedStreams, now: datetime) -> Outcome:
    if isinstance(task, Invalid):
        return rejection(command, task.code, task.message, now, task.errors)
    require_not_erased(task, known.keys)
    current = batch.streams.get(task.stream)
    if current is None:
        current = batch.streams[task.stream] = _load(batch, task, known)
    current.state = opened(current.state, task.stream, known.keys)
    expected = command.envelope.expectedversion
    if expected is not None and expected != current.version:
        message = f"{task.stream} is at version {current.version}, not {expected}"
        raise Refused("version-conflict", message)
    aggregate = task.aggregate
    borrowed = (batch.facts.known,) if type(task.data) in aggregate.borrows else ()
    events = aggregate.decide(current.state, task.data, now, *borrowed)
    state = current.state
    for event in events:
        state = aggregate.evolve(state, event)
    recorded = [
        _record(command, task.stream, current.version + number, sealed(event, task.stream, known.keys), now)
        for number, event in enumerate(events, 1)
    ]
    _take_claims(batch, task, events, known)
    # From here on nothing raises: the command is applied completely or not at all.
    current.state = state
    current.version += len(recorded)
    batch.facts.update(aggregate.kind, task.stream, state)
    batch.events += recorded
    return _acceptance(command, task.stream, current.version, tuple(e.type for e in recorded), now, known.epoch)


def _load(batch: Batch, task: Task, known: LoadedStreams) -> StreamState:
    """The stream's state. Raises the error of its replay."""
    row = known.streams.get(task.stream)
    if row is None:
        return StreamState(task.aggregate, loaded=0, version=0, state=None)
    state: State | Exception | None = known.replayed.get(task.stream)
    if isinstance(state, Exception):
        raise state
    replayed = state is not None
    if state is None:
        state = task.aggregate.restored(row.state, row.state_version)
    if state is None:
        batch.outdated[task.stream] = task.aggregate
    return StreamState(task.aggregate, row.version, row.version, state, replayed)


def _take_claims(batch: Batch, task: Task, events: Sequence[EventData], known: LoadedStreams) -> None:
    wanted: dict[ClaimKey, str | None] = {}
    for event in events:
        claims = task.aggregate.claims(event)
        for scope, value in claims.release:
            key = (scope, hashed_claim(scope, value, known.claims_secret))
            if _holder(batch, wanted, key, known) == task.stream:
                wanted[key] = None
        for claim in claims.take:
            key = (claim.scope, hashed_claim(claim.scope, claim.value, known.claims_secret))
            if _holder(batch, wanted, key, known) is not None:
                raise Refused(claim.code, claim.message)
            wanted[key] = task.stream
    batch.claims |= wanted


def _holder(batch: Batch, wanted: Mapping[ClaimKey, str | None], key: ClaimKey, known: LoadedStreams) -> str | None:
    for layer in (wanted, batch.claims, known.claims):
        if key in layer:
            return layer[key]
    batch.missing.add(key)
    return None


def _record(command: Command, stream: str, version: int, event: EventData, now: datetime) -> NewEvent:
    event_type, schema_version = EVENTS[type(event)]
    envelope = EventEnvelope(
        specversion="1.0",
        id=f"{stream}@{version}",
        source=SOURCE,
        type=event_type,
        subject=stream,
        time=now,
        datacontenttype="application/json",
        data=event,
        streamversion=version,
        schemaversion=schema_version,
        causationid=command.envelope.id,
        correlationid=command.correlation_id or command.envelope.id,
        traceparent=command.envelope.traceparent or msgspec.UNSET,
        actor=command.envelope.actor or msgspec.UNSET,
        behind=command.envelope.behind or msgspec.UNSET,
    )
    return NewEvent(stream, version, event_type, envelope.to_json().decode())


def _acceptance(
    command: Command, stream: str, version: int, events: tuple[str, ...], now: datetime, epoch: str | None
) -> Outcome:
    envelope = command.envelope
    data = Accepted(
        command_id=envelope.id,
        command_type=envelope.type,
        stream=stream,
        version=version,
        events=events,
        epoch=epoch,
    )
    return Outcome(_outcome(command, ACCEPTED, stream, data, now), accepted=True)


def rejection(
    command: Command, code: str, message: str, now: datetime, errors: tuple[dict[str, str], ...] = ()
) -> Outcome:
    envelope = command.envelope
    data = Rejected(command_id=envelope.id, command_type=envelope.type, code=code, message=message, errors=errors)
    return Outcome(_outcome(command, REJECTED, envelope.subject, data, now), accepted=False)


def _outcome(command: Command, kind: Kind, subject: str | None, data: Accepted | Rejected, now: datetime) -> bytes:
    reused = isinstance(data, Rejected) and data.code == REUSED
    envelope = OutcomeEnvelope(
        specversion="1.0",
        id=reuse_refusal_id(*command.key, command.digest) if reused else outcome_id(*command.key),
        commandsource=command.envelope.source,
        source=SOURCE,
        type=kind,
        subject=subject,
        time=now,
        datacontenttype="application/json",
        data=data,
    )
    return envelope.model_dump_json(exclude_none=True).encode()
