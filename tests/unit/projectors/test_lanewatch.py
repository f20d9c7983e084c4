"""Noticing loss: a lane is trusted only while its messages come numbered without a hole, and its heads have been compared."""

from datetime import UTC, datetime

from projectors.runtime.gaps import ASK_AGAIN_S, GapDetector
from shared.messaging import topology

BEAT = {0: datetime(2026, 3, 1, tzinfo=UTC)}


def numbered(number: int, epoch: str = "e1") -> dict[str, object]:
    return {topology.EPOCH_HEADER: epoch, topology.SEQUENCE_HEADER: number}


def settled() -> GapDetector:
    watch = GapDetector()
    watch.note(0, numbered(7))
    watch.lanes[0].asked = "q1"
    watch.settle(0, "q1")
    return watch


def test_a_lane_just_taken_over_is_suspect_until_its_heads_are_compared() -> None:
    watch = GapDetector()
    watch.note(0, numbered(7))
    assert watch.trusted(BEAT) == {}
    assert list(watch.to_ask(100.0)) == [0]
    watch.lanes[0].asked, watch.lanes[0].asked_at = "q1", 100.0
    assert list(watch.to_ask(100.0 + ASK_AGAIN_S / 2)) == []
    assert list(watch.to_ask(100.0 + ASK_AGAIN_S)) == [0]
    watch.settle(0, "another question")
    assert watch.trusted(BEAT) == {}
    watch.settle(0, "q1")
    assert watch.trusted(BEAT) == BEAT


def test_numbers_that_follow_and_old_ones_that_come_again_are_fine() -> None:
    watch = settled()
    for number in (8, 9, 8, 7, 10):
        watch.note(0, numbered(number))
    watch.note(0, {})
    assert watch.trusted(BEAT) == BEAT
    assert not watch.to_ask(1000.0)


def test_a_number_that_jumps_or_a_new_epoch_makes_the_lane_suspect() -> None:
    for headers in (numbered(9), numbered(1, "e2")):
        watch = settled()
        watch.note(0, headers)
        assert watch.trusted(BEAT) == {}
        assert list(watch.to_ask(1000.0)) == [0]


def test_a_loss_while_an_answer_is_under_way_needs_a_new_answer() -> None:
    watch = settled()
    watch.note(0, numbered(9))
    watch.lanes[0].asked, watch.lanes[0].asked_at = "q2", 50.0
    watch.note(0, numbered(20))
    watch.settle(0, "q2")
    assert watch.trusted(BEAT) == {}
    assert list(watch.to_ask(50.1)) == [0]


def test_one_lane_s_loss_is_not_another_s() -> None:
    watch = settled()
    watch.note(1, numbered(3))
    watch.lanes[1].asked = "q"
    watch.settle(1, "q")
    watch.note(1, numbered(9))
    assert set(watch.trusted({0: BEAT[0], 1: BEAT[0]})) == {0}
