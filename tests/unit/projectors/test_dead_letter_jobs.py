"""A replay job's life as a pure function, and pacing as an algebra."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projectors.dead_letters.replaying.engine import MAX_BATCH, _capacity
from projectors.dead_letters.replaying.jobs import (
    FINAL,
    SENDING,
    JobProgress,
    State,
    Transition,
    advance,
    requested_state,
)
from projectors.dead_letters.replaying.rate_limiter import BURST_S, RateLimiter
from projectors.dead_letters.replaying.store import Job

COUNT = st.integers(0, 50)
TO = st.sampled_from(["paused", "running", "cancelled"])


@st.composite
def progress(draw: st.DrawFn) -> JobProgress:
    return JobProgress(
        state=draw(st.sampled_from(State)),
        canary=draw(COUNT),
        canary_over=draw(st.booleans()),
        canary_open=draw(COUNT),
        canary_failed=draw(COUNT),
        open=draw(COUNT),
        stop_after=draw(st.none() | st.integers(1, 50)),
        repeated_failures=draw(COUNT),
        steps_left=draw(st.integers(0, 3)),
        step_open=draw(st.booleans()),
        step_failed=draw(COUNT),
        step_succeeded=draw(COUNT),
        settled=draw(st.booleans()),
    )


@given(progress())
def test_a_job_that_is_over_or_stopped_stays_where_it_is(found: JobProgress) -> None:
    if found.state in FINAL | {State.STOPPED}:
        assert advance(found) is None


@given(progress())
def test_nothing_is_completed_with_letters_open(found: JobProgress) -> None:
    transition = advance(found)
    if transition is not None and transition.to is State.COMPLETED:
        assert found.open == 0
        assert found.settled


@given(progress())
def test_a_canary_goes_on_only_when_all_of_it_has_succeeded(found: JobProgress) -> None:
    transition = advance(found)
    if found.state is State.CANARY and transition == Transition(State.RUNNING):
        assert (found.canary_open, found.canary_failed, found.settled) == (0, 0, True)
    if found.state is State.CANARY and found.canary_failed:
        assert transition is not None
        assert transition.to is State.STOPPED


@given(progress())
def test_a_job_stops_itself_with_a_reason_and_only_while_it_sends(found: JobProgress) -> None:
    transition = advance(found)
    if transition is not None and transition.to is State.STOPPED:
        assert transition.why
        assert found.state in SENDING


@given(st.lists(progress(), max_size=12))
def test_left_alone_a_job_never_goes_back(history: list[JobProgress]) -> None:
    order = [State.PENDING, State.CANARY, State.RUNNING, State.COMPLETED]
    for found in history:
        transition = advance(found)
        if transition is not None and found.state in order and transition.to in order:
            assert transition.next_step or order.index(transition.to) > order.index(found.state)


@given(progress())
def test_a_ramp_goes_up_only_when_its_step_is_over_and_has_not_failed(found: JobProgress) -> None:
    transition = advance(found)
    if transition is not None and transition.next_step:
        assert (found.state, transition.to) == (State.RUNNING, State.RUNNING)
        assert found.settled
        assert found.steps_left
        assert not found.step_open
        few = found.stop_after is None or found.step_failed < found.stop_after
        assert few
        assert found.stop_after is None or not found.step_failed or found.step_succeeded


@given(st.sampled_from(State), TO)
def test_what_is_final_cannot_be_steered(state: State, to: Literal["paused", "running", "cancelled"]) -> None:
    if state in FINAL:
        assert requested_state(state, to) is None


@pytest.mark.parametrize(
    ("state", "to", "becomes"),
    [
        (State.RUNNING, "paused", State.PAUSED),
        (State.CANARY, "paused", State.PAUSED),
        (State.PAUSED, "running", State.PENDING),
        (State.STOPPED, "running", State.PENDING),
        (State.STOPPED, "cancelled", State.CANCELLED),
        (State.RUNNING, "running", None),
        (State.STOPPED, "paused", None),
    ],
)
def test_what_an_operator_may_do(
    state: State, to: Literal["paused", "running", "cancelled"], becomes: State | None
) -> None:
    assert requested_state(state, to) is becomes


@given(
    st.floats(0.1, 10_000),
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 2000)), min_size=1, max_size=50),
)
def test_no_more_go_than_the_rate_allows(rate: float, asked: list[tuple[float, int]]) -> None:
    limiter, now, given_ = RateLimiter(rate), 0.0, 0
    for pause, wanted in asked:
        now += pause
        allowed = limiter.allow(now, wanted)
        assert 0 <= allowed <= wanted
        given_ += allowed
    assert given_ <= rate * (now + BURST_S) + 1.001


@given(st.floats(1, 2000))
def test_whoever_asks_often_gets_the_whole_rate(rate: float) -> None:
    limiter = RateLimiter(rate)
    total = sum(limiter.allow(tick * 0.02, 10_000) for tick in range(501))
    assert total >= rate * 10 * 0.98 - 1


def test_the_wait_is_as_long_as_it_takes_for_one_more() -> None:
    limiter = RateLimiter(4.0)
    assert limiter.allow(0.0, 5) == 1
    assert limiter.next_in == pytest.approx(0.25)
    assert limiter.allow(0.26, 5) == 1


@given(COUNT, st.integers(1, 5000), st.none() | st.integers(1, 20), COUNT, st.integers(0, 10_000))
def test_no_more_are_under_way_than_concurrency_and_trust_allow(
    under_way: int, concurrency: int, stop_after: int | None, succeeded: int, queued: int
) -> None:
    found = JobProgress(State.RUNNING, 0, False, 0, 0, queued + under_way, stop_after, 0)
    room = _capacity(Job(1, None, concurrency, under_way, succeeded, queued, queued, found))
    assert room <= min(queued, MAX_BATCH)
    if room > 0:
        assert under_way + room <= concurrency
        assert stop_after is None or under_way + room <= stop_after + succeeded
    if queued and not under_way:
        assert room > 0
