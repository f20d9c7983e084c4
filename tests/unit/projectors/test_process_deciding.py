"""Whatever order, repetition and failure its inputs come in, a process decides each once, and its start first. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from projectors.process_runtime.deciding import (
    NOT_DECIDED,
    Process,
    Progress,
    RecordedInput,
    Status,
    StoredInput,
    advance,
    command_id,
)
from projectors.process_runtime.inputs import from_json, kind_of, to_json
from projectors.processes.process import Act, EventInput, Input, OperatorInput, OutcomeInput, TimerInput
from shared.contracts.registry import EVENTS
from shared.contracts.values import EventData
from tests import shop
from tests.process_manager import PARCEL, POISON


def event(data: EventData, stream: str, version: int) -> EventInput:
    return EventInput(f"{stream}@{version}", shop.NOON, stream, version, EVENTS[type(data)][0], data)


START = event(shop.placed(), "orders/o-1", 1)
LATER = [event(shop.paid(), "orders/o-1", 2), event(shop.delivered(), "orders/o-1", 3)]
OUTSIDE = [
    event(shop.registered("for-o-1", name="Ada"), "customers/for-o-1", 1),
    *(event(shop.renamed("for-o-1", name=name), "customers/for-o-1", n) for n, name in enumerate(["poison", "Bob"], 2)),
]
OUTCOME = OutcomeInput("pay/outcome", shop.NOON, "pay", "c-1", "orders.pay-order", True)


@dataclass
class Stored:
    """What the tables would hold, as ``rows`` writes them."""

    process: Process = field(default_factory=lambda: Process("o-1"))
    inputs: dict[int, list[Any]] = field(default_factory=dict)
    """Number → [input, decided]."""
    commands: list[str] = field(default_factory=list)
    decided: list[str] = field(default_factory=list)
    """The ids of the inputs that were decided, in order."""

    def give(self, *arrived: Input) -> Progress:
        known = {row[0].id for row in self.inputs.values()}
        new = list({one.id: one for one in arrived if one.id not in known}.values())
        if self._resumes(new):
            self.process.waiting = [
                StoredInput(number, kind_of(one), one.id, one.at, to_json(one))
                for number, (one, decided) in sorted(self.inputs.items())
                if decided is None
            ]
        self.process.current = None
        done = advance(PARCEL, self.process, new, shop.NOON)
        places: dict[int, str] = {}
        for each in done.inputs:
            self.inputs[each.number] = [each.given, each.decided]
            places |= self._place(each)
        for number, decided in done.decided_later:
            assert self.inputs[number][1] is None, "decided twice"
            self.inputs[number][1] = decided
            places[decided] = self.inputs[number][0].id
        self.decided += [places[place] for place in sorted(places) if place != NOT_DECIDED]
        self.commands += [command.command_id for command in done.commands]
        return done

    def _place(self, each: RecordedInput) -> dict[int, str]:
        return {} if each.decided is None else {each.decided: each.given.id}

    def _resumes(self, new: Sequence[Input]) -> bool:
        if self.process.status is Status.AWAITING_START:
            return any(one is START for one in new)
        return self.process.status is Status.FAILED and any(isinstance(one, OperatorInput) for one in new)


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[Input]]:
    """Streams in their own order, interleaved at will, with repetitions, in batches."""
    streams: list[list[Input]] = [[START, *LATER], list(OUTSIDE), [OUTCOME]]
    flat: list[Input] = []
    while any(streams):
        chosen = draw(st.sampled_from([stream for stream in streams if stream]))
        flat.append(chosen.pop(0))
        if draw(st.booleans()):
            flat.append(draw(st.sampled_from(flat)))
    batches: list[list[Input]] = []
    while flat:
        size = draw(st.integers(1, 4))
        batches, flat = [*batches, flat[:size]], flat[size:]
    return batches


@settings(max_examples=400)
@given(batches=deliveries())
def test_each_input_is_decided_once_after_the_start_and_in_its_stream_s_order(batches: list[list[Input]]) -> None:
    POISON["active"] = True
    stored, early = Stored(), list[Input]()
    for batch in batches:
        ready = [one for one in batch if START.id in {row[0].id for row in stored.inputs.values()} or one is START]
        # Outcomes, and events of the start's own stream, cannot come before the start.
        usable = [one for one in batch if one in ready or one in OUTSIDE or START in batch]
        early += [one for one in batch if one not in usable]
        stored.give(*usable)
    stored.give(*early)
    assert stored.process.status is Status.FAILED
    assert "poison" not in "".join(stored.decided)
    before = list(stored.decided)
    stored.give(OperatorInput("operator/1", shop.NOON, Act.RETRY, "ann", ""))
    assert stored.decided == before, "it fails again on the same input"
    POISON["active"] = False
    stored.give(OperatorInput("operator/2", shop.NOON, Act.RETRY, "ann", ""))
    everything: list[Input] = [START, *LATER, *OUTSIDE, OUTCOME]
    assert sorted(stored.decided) == sorted(one.id for one in everything)
    assert stored.decided[0] == START.id
    for stream in ([START, *LATER], OUTSIDE):
        ids = [one.id for one in stream]
        assert [one for one in stored.decided if one in ids] == ids
    assert (stored.process.result, stored.process.timers) == ("delivered", {})
    assert len(stored.commands) == len(set(stored.commands)) == 2
    assert stored.process.decided == len(everything)
    assert all(decided is not None for _, decided in stored.inputs.values())


def test_inputs_are_read_from_the_history_as_they_were_written() -> None:
    act = OperatorInput("operator/1", shop.NOON, Act.CANCEL, "ann", "because")
    every: list[Input] = [START, *OUTSIDE, OUTCOME, TimerInput("payment@1.1", shop.NOON, "payment"), act]
    for one in every:
        assert from_json(kind_of(one), one.id, one.at, to_json(one)) == one


def test_command_ids_are_deterministic_ids_that_the_contracts_allow() -> None:
    ids = {
        command_id(process, given, n) for process in ("o-1", "ö" * 128) for given in ("a/b@1", "a/b@2") for n in (1, 2)
    }
    assert len(ids) == 8
    assert command_id("o-1", "orders/o-1@1", 1) == command_id("o-1", "orders/o-1@1", 1)
    assert all(len(one) <= 128 and "/" not in one for one in ids)


def test_a_timer_that_is_set_again_in_the_same_step_has_only_its_last_token() -> None:
    POISON["active"] = True
    stored = Stored()
    again = event(shop.registered("for-o-1", name="again"), "customers/for-o-1", 1)
    done = stored.give(START, again)
    ((token, due_at),) = done.timers.values()
    assert stored.process.timers == {"payment": token}
    assert due_at == shop.NOON + timedelta(seconds=60)
    assert stored.give(TimerInput("payment@1.2", shop.NOON, "payment")).stale == 1
    assert stored.give(TimerInput(token, shop.NOON, "payment")).stale == 0
    assert msgspec.json.decode(stored.process.state or "")["seen"][-1] == "timer payment"
