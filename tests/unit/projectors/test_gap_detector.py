"""Detecting loss: a lane is trusted only while its messages' numbers have no gap, and its heads have been compared."""

from datetime import UTC, datetime

from projectors.runtime.gaps import REQUEST_INTERVAL_S, GapDetector
from shared.messaging import topology

BEAT = {0: datetime(2026, 3, 1, tzinfo=UTC)}


def numbered(number: int, epoch: str = "e1") -> dict[str, object]:
    return {topology.EPOCH_HEADER: epoch, topology.SEQUENCE_HEADER: number}


def trusted_lane() -> GapDetector:
    detector = GapDetector()
    detector.note(0, numbered(7))
    detector.lanes[0].request_id = "q1"
    detector.clear(0, "q1")
    return detector


def test_a_lane_just_taken_over_is_suspect_until_its_heads_are_compared() -> None:
    detector = GapDetector()
    detector.note(0, numbered(7))
    assert detector.trusted(BEAT) == {}
    assert list(detector.due_requests(100.0)) == [0]
    detector.lanes[0].request_id, detector.lanes[0].requested_at = "q1", 100.0
    assert list(detector.due_requests(100.0 + REQUEST_INTERVAL_S / 2)) == []
    assert list(detector.due_requests(100.0 + REQUEST_INTERVAL_S)) == [0]
    detector.clear(0, "another question")
    assert detector.trusted(BEAT) == {}
    detector.clear(0, "q1")
    assert detector.trusted(BEAT) == BEAT


def test_numbers_that_follow_and_old_ones_that_come_again_are_fine() -> None:
    detector = trusted_lane()
    for number in (8, 9, 8, 7, 10):
        detector.note(0, numbered(number))
    detector.note(0, {})
    assert detector.trusted(BEAT) == BEAT
    assert not detector.due_requests(1000.0)


def test_a_number_that_jumps_or_a_new_epoch_makes_the_lane_suspect() -> None:
    for headers in (numbered(9), numbered(1, "e2")):
        detector = trusted_lane()
        detector.note(0, headers)
        assert detector.trusted(BEAT) == {}
        assert list(detector.due_requests(1000.0)) == [0]


def test_a_loss_while_an_answer_is_under_way_needs_a_new_answer() -> None:
    detector = trusted_lane()
    detector.note(0, numbered(9))
    detector.lanes[0].request_id, detector.lanes[0].requested_at = "q2", 50.0
    detector.note(0, numbered(20))
    detector.clear(0, "q2")
    assert detector.trusted(BEAT) == {}
    assert list(detector.due_requests(50.1)) == [0]


def test_one_lane_s_loss_is_not_another_s() -> None:
    detector = trusted_lane()
    detector.note(1, numbered(3))
    detector.lanes[1].request_id = "q"
    detector.clear(1, "q")
    detector.note(1, numbered(9))
    assert set(detector.trusted({0: BEAT[0], 1: BEAT[0]})) == {0}
