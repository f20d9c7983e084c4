"""A retry copy that comes late, and the resend that was asked for meanwhile: an event that dies of one has one letter, whatever follows.

Nobody has asked for another try. Whoever does, by a replay or by moving a letter back, gets it.
"""

from collections.abc import Iterator
from random import Random

import pytest

from projectors.stores.port import HoldStatus
from shared.messaging import topology
from tests.unit.projectors.event_store import STREAMS
from tests.unit.projectors.world import Message, World, lane_of, lane_queue

STREAM = STREAMS[0]
EVENT = (STREAM, 1)
QUEUE = lane_queue(lane_of(STREAM))
LATE_S = 40.0
"""Longer than the last tier, and than a resend is given."""


@pytest.fixture
def world() -> Iterator[World]:
    world = World(Random(1))
    world.store.failing = {STREAM}
    yield world
    world.close()


def waiting(world: World) -> list[Message]:
    return [*world.queues[QUEUE]]


def handled(world: World, messages: list[Message]) -> None:
    assert not world.deliver(0, messages)


def answered(world: World) -> list[Message]:
    """What the requests for resends bring."""
    before = waiting(world)
    requests, world.requests = world.requests, []
    for request in requests:
        if request["type"] == "control.resend":
            world.answer(request)
    return [message for message in waiting(world) if message not in before]


def about_to_die(world: World) -> Message:
    """The copy from the last tier, which the broker has not brought yet."""
    world.publish(STREAM, 1)
    handled(world, waiting(world))
    for _, delay_ms in topology.RETRY_TIERS[:-1]:
        world.pass_time(delay_ms / 1000)
        handled(world, waiting(world))
    [(_, copy)] = world.delayed
    world.delayed.clear()
    assert world.store.holds[STREAM].status is HoldStatus.RETRYING
    assert not world.letters
    return copy


def late(world: World, times: int) -> list[Message]:
    """So many resends, asked for one after the other while the copy did not come, and all here now."""
    for _ in range(times):
        world.pass_time(LATE_S)
        handled(world, [])
    return answered(world)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("copy_first", [True, False])
@pytest.mark.parametrize("times", [1, 4])
def test_a_late_copy_and_the_resends_for_it_make_one_letter(
    world: World, *, times: int, copy_first: bool, together: bool
) -> None:
    copy = about_to_die(world)
    resent = late(world, times)
    assert len(resent) == times
    messages = [copy, *resent] if copy_first else [*resent, copy]
    for part in [messages] if together else [[message] for message in messages]:
        world.queues[QUEUE] += [message for message in part if message not in world.queues[QUEUE]]
        handled(world, part)
    assert world.store.holds[STREAM].status is HoldStatus.DEAD
    assert world.failures == {EVENT: 1}
    assert not waiting(world)


def test_a_replay_is_tried_and_so_is_a_letter_that_is_moved_back_by_hand(world: World) -> None:
    copy = about_to_die(world)
    handled(world, [copy])
    assert world.failures == {EVENT: 1}
    world.replay(STREAM)
    handled(world, answered(world))
    assert world.failures == {EVENT: 2}
    handled(world, [Message(QUEUE, copy.body)])
    assert world.failures == {EVENT: 3}
    world.store.failing = set()
    world.replay(STREAM)
    handled(world, answered(world))
    assert (world.store.holds, world.passed) == ({}, {EVENT})
