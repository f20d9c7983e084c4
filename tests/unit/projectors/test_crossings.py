"""A late retry copy, and a resend that was requested before it arrived: an event that dies from one gets one letter only.

Only an operator's request, a replay or a letter moved back, causes another attempt.
"""

from collections.abc import Iterator
from random import Random

import pytest

from projectors.stores.port import HoldStatus
from shared.messaging import topology
from tests.unit.projectors.event_store import STREAMS
from tests.unit.projectors.simulation import Message, Simulation, lane_of, lane_queue

STREAM = STREAMS[0]
EVENT = (STREAM, 1)
QUEUE = lane_queue(lane_of(STREAM))
LATE_S = 40.0
"""Longer than the last tier and the time after which a resend is requested."""


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    simulation = Simulation(Random(1))
    simulation.store.failing = {STREAM}
    yield simulation
    simulation.close()


def waiting(simulation: Simulation) -> list[Message]:
    return [*simulation.queues[QUEUE]]


def handled(simulation: Simulation, messages: list[Message]) -> None:
    assert not simulation.deliver(0, messages)


def answered(simulation: Simulation) -> list[Message]:
    """The messages that the requested resends bring."""
    before = waiting(simulation)
    requests, simulation.requests = simulation.requests, []
    for request in requests:
        if request["type"] == "control.resend":
            simulation.answer(request)
    return [message for message in waiting(simulation) if message not in before]


def about_to_die(simulation: Simulation) -> Message:
    """The copy from the last tier, which the broker has not delivered yet."""
    simulation.publish(STREAM, 1)
    handled(simulation, waiting(simulation))
    for _, delay_ms in topology.RETRY_TIERS[:-1]:
        simulation.pass_time(delay_ms / 1000)
        handled(simulation, waiting(simulation))
    [(_, copy)] = simulation.delayed
    simulation.delayed.clear()
    assert simulation.store.holds[STREAM].status is HoldStatus.RETRYING
    assert not simulation.letters
    return copy


def late(simulation: Simulation, times: int) -> list[Message]:
    """So many resends, requested one after the other while the copy was late, all of which have arrived."""
    for _ in range(times):
        simulation.pass_time(LATE_S)
        handled(simulation, [])
    return answered(simulation)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("copy_first", [True, False])
@pytest.mark.parametrize("times", [1, 4])
def test_a_late_copy_and_the_resends_for_it_make_one_letter(
    simulation: Simulation, *, times: int, copy_first: bool, together: bool
) -> None:
    copy = about_to_die(simulation)
    resent = late(simulation, times)
    assert len(resent) == times
    messages = [copy, *resent] if copy_first else [*resent, copy]
    for part in [messages] if together else [[message] for message in messages]:
        simulation.queues[QUEUE] += [message for message in part if message not in simulation.queues[QUEUE]]
        handled(simulation, part)
    assert simulation.store.holds[STREAM].status is HoldStatus.DEAD
    assert simulation.failures == {EVENT: 1}
    assert not waiting(simulation)


def test_a_replay_is_tried_and_so_is_a_letter_that_is_moved_back_by_hand(simulation: Simulation) -> None:
    copy = about_to_die(simulation)
    handled(simulation, [copy])
    assert simulation.failures == {EVENT: 1}
    simulation.replay(STREAM)
    handled(simulation, answered(simulation))
    assert simulation.failures == {EVENT: 2}
    handled(simulation, [Message(QUEUE, copy.body)])
    assert simulation.failures == {EVENT: 3}
    simulation.store.failing = set()
    simulation.replay(STREAM)
    handled(simulation, answered(simulation))
    assert (simulation.store.holds, simulation.passed) == ({}, {EVENT})
