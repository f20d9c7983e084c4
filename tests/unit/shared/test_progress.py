"""Work in hand that does not come to its end; and saying so, in the log, less and less often."""

import logging

import pytest

from shared.runtime.health import TroubleLog
from shared.runtime.stalls import StallDetector


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_ends_soon_is_no_trouble_and_what_does_not_is_one_until_it_ends(clock: Clock) -> None:
    progress = StallDetector(stalled_after_s=5, clock=clock)
    assert progress.trouble is None
    with progress.step("deciding 40 commands"):
        clock.now += 4.9
        assert progress.trouble is None
        clock.now += 7
        assert progress.trouble == "deciding 40 commands: no progress for 12 s; no answer yet"
    assert progress.trouble is None


def test_what_fails_is_a_trouble_with_its_reason_although_it_is_tried_again(clock: Clock) -> None:
    progress = StallDetector(stalled_after_s=5, clock=clock)
    with progress.step("the store") as step:
        step.failed(TimeoutError())
        clock.now += 1
        assert progress.trouble == "the store: no progress for 1 s; TimeoutError: no answer in time"


def test_failing_for_a_moment_may_not_be_worth_a_word(clock: Clock) -> None:
    progress = StallDetector(failing_after_s=3, clock=clock)
    with progress.step("publishing") as step:
        step.failed(OSError("refused"))
        clock.now += 2.9
        assert progress.trouble is None
        clock.now += 0.1
        assert progress.trouble == "publishing: no progress for 3 s; OSError: refused"


def test_what_takes_long_is_a_trouble_only_for_what_fails_in_it_and_until_it_has_got_past_that(clock: Clock) -> None:
    progress = StallDetector(clock=clock)
    with progress.step("leading", takes_long=True) as step:
        clock.now += 3600
        assert progress.trouble is None
        step.failed(OSError("away"))
        assert progress.trouble is not None
        progress.recovered()
        assert progress.trouble is None


def test_of_several_the_one_that_was_begun_first_is_named(clock: Clock) -> None:
    progress = StallDetector(stalled_after_s=5, clock=clock)
    with progress.step("first"):
        clock.now += 1
        with progress.step("second"):
            clock.now += 6
            assert (progress.trouble or "").startswith("first:")


def test_a_trouble_is_logged_after_a_moment_then_less_and_less_often_and_when_it_is_over(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log, said_at = TroubleLog("worker", clock), []
    for second in range(1000):
        before = len(caplog.records)
        log.note({"database": f"no progress for {second} s"})
        if len(caplog.records) > before:
            said_at.append(second)
        clock.now += 1
    assert said_at == [2, 12, 32, 72, 152, 312, 612, 912]
    assert caplog.messages[1] == "worker is not well: database: no progress for 12 s"
    log.note({})
    assert caplog.messages[-1] == "worker is well again: database, after 1000 s"


def test_what_comes_and_goes_every_other_second_is_logged_no_more_often(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log = TroubleLog("worker", clock)
    for second in range(600):
        log.note({"database": "away"} if second % 8 < 4 else {})
        clock.now += 1
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 7
