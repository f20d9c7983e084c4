"""The limiter grants each key at most ``burst + rate × t``, whatever others do; what is refused is granted when the refusal says."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.rate_limits import SECOND, RateLimitedError, RateLimits

RATES = st.floats(0.1, 10_000)
BURSTS = st.integers(1, 50)
KEYS = st.sampled_from("abcdef")
STEPS = st.lists(st.tuples(KEYS, st.integers(0, 2 * SECOND // 10)), max_size=200)
"""Requests: whose, and how many nanoseconds after the one before."""


class Clock:
    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now


def granted(limits: RateLimits, clock: Clock, steps: Sequence[tuple[str, int]]) -> dict[str, list[int]]:
    """When each key was granted something."""
    times: dict[str, list[int]] = {}
    for key, pause in steps:
        clock.now += pause
        if not limits.wait(key):
            times.setdefault(key, []).append(clock.now)
    return times


@given(RATES, BURSTS, STEPS, st.integers(1, 6))
def test_no_key_is_granted_more_than_burst_and_rate_in_any_time_however_few_buckets_there_are(
    rate: float, burst: int, steps: Sequence[tuple[str, int]], capacity: int
) -> None:
    clock = Clock()
    limits = RateLimits(rate, burst, capacity=capacity, clock=clock)
    for times in granted(limits, clock, steps).values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= burst + rate * (times[last] - times[first]) / SECOND + 1e-6
    assert len(limits) <= capacity


@given(RATES, BURSTS, STEPS)
def test_with_room_for_all_a_request_is_refused_only_where_it_would_be_too_many(
    rate: float, burst: int, steps: Sequence[tuple[str, int]]
) -> None:
    """Beside the bucket of the textbook: tokens that are added with time, up to the burst."""
    clock = Clock()
    limits = RateLimits(rate, burst, clock=clock)
    tokens: dict[str, tuple[float, int]] = {}
    for key, pause in steps:
        clock.now += pause
        had, at = tokens.get(key, (float(burst), clock.now))
        has = min(float(burst), had + rate * (clock.now - at) / SECOND)
        refused = bool(limits.wait(key))
        if abs(has - 1) > 1e-3:
            assert refused == (has < 1)
        tokens[key] = (has if refused else has - 1, clock.now)


@given(RATES, BURSTS)
def test_after_the_time_that_a_refusal_says_the_request_is_granted_and_not_before(rate: float, burst: int) -> None:
    clock = Clock()
    limits = RateLimits(rate, burst, clock=clock)
    assert [limits.wait("a") for _ in range(burst)] == [0.0] * burst
    wait_s = limits.wait("a")
    assert wait_s > 0
    clock.now += int(wait_s * SECOND) - 2
    assert limits.wait("a")
    clock.now += 4
    assert not limits.wait("a")


def test_a_refusal_is_a_429_that_says_when_to_come_again() -> None:
    limits = RateLimits(0.1, 1, clock=Clock())
    limits.require("a")
    limits.require("b")
    with pytest.raises(RateLimitedError) as refused:
        limits.require("a")
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "10"})


def test_a_flood_of_keys_takes_no_more_memory_than_the_capacity_and_no_bucket_from_those_who_have_one() -> None:
    clock = Clock()
    limits = RateLimits(1, 5, capacity=10, clock=clock)
    assert not any(limits.wait("own") for _ in range(4))
    flood = [limits.wait(f"flood-{number}") for number in range(1_000)]
    assert len(limits) == 10
    assert flood.count(0.0) == 9 + 5  # each with a bucket of its own, and the burst of the one that all others share
    assert not limits.wait("own")
    assert limits.wait("own")
    clock.now += 5 * SECOND
    assert not limits.wait("new")
    assert len(limits) == 10


def test_what_was_granted_from_the_shared_bucket_is_not_granted_again_from_an_own_one() -> None:
    clock = Clock()
    limits = RateLimits(1, 3, capacity=1, clock=clock)
    assert not limits.wait("first")
    assert [bool(limits.wait("second")) for _ in range(4)] == [False, False, False, True]
    clock.now += SECOND  # the bucket of the first is full, and forgotten
    assert not limits.wait("second")
    assert limits.wait("second")


def test_the_waits_of_a_key_that_goes_on_asking_do_not_grow() -> None:
    limits = RateLimits(1, 1, clock=Clock())
    limits.wait("a")
    waits = [limits.wait("a") for _ in range(10)]
    assert all(one == other for one, other in pairwise(waits))
