"""The failure policy: every failing event goes through the tiers in order, once each, and is then given up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectors.runtime.retry import (
    LETTER_AFTER,
    RESEND_AFTER,
    Failure,
    GiveUp,
    Remedy,
    RetryLater,
    failure_hold,
    failure_of,
    gap_hold,
    next_attempt,
)
from projectors.stores.port import HoldStatus, Position
from shared.messaging.topology import RETRY_TIERS

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FAILURE = Failure("projection-failed", "ValueError: x", "f", "trace")
tiers = st.lists(st.tuples(st.text("abc", min_size=1), st.integers(1, 60_000)), max_size=5)


@given(tiers, st.integers(1, 20))
def test_attempt_n_waits_in_tier_n_and_past_the_last_it_is_given_up(some: list[tuple[str, int]], attempts: int) -> None:
    decided = next_attempt(attempts, some)
    if attempts <= len(some):
        name, delay = some[attempts - 1]
        assert decided == RetryLater(name, timedelta(milliseconds=delay))
    else:
        assert decided == GiveUp()


@given(tiers, st.integers(1, 20))
def test_what_nothing_can_cure_is_given_up_at_once(some: list[tuple[str, int]], attempts: int) -> None:
    assert next_attempt(attempts, some, Remedy.NOTHING) == GiveUp()


@given(tiers, st.integers(1, 10**6))
def test_what_newer_code_will_know_is_tried_again_slowly_and_without_end(
    some: list[tuple[str, int]], attempts: int
) -> None:
    decided = next_attempt(attempts, some, Remedy.DEPLOYMENT)
    assert isinstance(decided, RetryLater)
    assert decided.tier is None
    assert timedelta(seconds=10) <= decided.delay <= timedelta(seconds=60)


@given(st.integers(0, 100), st.integers(1, 10))
def test_failing_again_and_again_ends_as_a_dead_letter_that_remembers_its_first_time(applied: int, extra: int) -> None:
    position = Position(applied)
    for attempt in range(1, len(RETRY_TIERS) + 1 + extra):
        at = NOW + timedelta(minutes=attempt)
        decided = next_attempt(attempt, RETRY_TIERS)
        hold = failure_hold(position, applied + 1, applied + 1, FAILURE, decided, at)
        assert hold.attempts == attempt
        assert hold.first_failed_at == NOW + timedelta(minutes=1)
        assert hold.last_failed_at == at
        assert (hold.status is HoldStatus.DEAD) == (attempt > len(RETRY_TIERS))
        waits = decided.delay + RESEND_AFTER if isinstance(decided, RetryLater) else LETTER_AFTER
        assert hold.due_at == at + waits
        position = replace(position, hold=hold)


def test_a_gap_that_turns_out_to_be_poison_counts_from_one() -> None:
    position = Position(4, gap_hold(4, 9, NOW))
    hold = failure_hold(position, 5, 5, FAILURE, next_attempt(1, RETRY_TIERS), NOW)
    assert (hold.attempts, hold.seen) == (1, 9)


def test_a_fingerprint_is_the_same_for_the_same_cause_and_not_for_another() -> None:
    def fail(text: str) -> None:
        raise ValueError(text)

    def failing(text: str) -> Failure:
        with pytest.raises(ValueError, match=text) as raised:
            fail(text)
        return failure_of(raised.value, "projection-failed")

    assert failing("order 17 of 'c-1'").fingerprint == failing("order 99 of 'c-2'").fingerprint
    assert failing("order 17").fingerprint != failing("no such row").fingerprint
