import math

import pytest

from projectors.rebuild.pacing import BATCH_TARGET_S, INITIAL_BYTES, BatchSizer


def after(sizer: BatchSizer, batches: int, seconds_per_byte: float) -> BatchSizer:
    for _ in range(batches):
        size = min(int(sizer.size(beside_live=True)), 2_000_000)
        sizer.record(size, size * seconds_per_byte)
    return sizer


def test_where_nothing_is_live_portions_are_as_large_as_may_be() -> None:
    assert after(BatchSizer(), 10, 1.0).size(beside_live=False) == math.inf


def test_beside_live_events_it_begins_small() -> None:
    assert BatchSizer().size(beside_live=True) == pytest.approx(INITIAL_BYTES)


@pytest.mark.parametrize("seconds_per_byte", [1e-8, 1e-7, 1e-6, 1e-5, 1e-3])
def test_beside_live_events_a_portion_takes_a_moment(seconds_per_byte: float) -> None:
    sizer = after(BatchSizer(), 80, seconds_per_byte)
    assert sizer.size(beside_live=True) * seconds_per_byte == pytest.approx(BATCH_TARGET_S, rel=0.05)


def test_a_moment_may_be_shorter_than_usual() -> None:
    shorter = after(BatchSizer(BATCH_TARGET_S / 2), 80, 1e-6)
    assert shorter.size(beside_live=True) == pytest.approx(
        after(BatchSizer(), 80, 1e-6).size(beside_live=True) / 2, rel=0.05
    )


def test_what_costs_nothing_is_taken_whole() -> None:
    sizer = BatchSizer()
    for _ in range(200):
        sizer.record(10_000, 0.0)
    assert sizer.size(beside_live=True) > 1e9


def test_it_slows_down_soon_and_speeds_up_by_and_by() -> None:
    sizer = after(BatchSizer(), 80, 1e-6)
    fast = sizer.size(beside_live=True)
    after(sizer, 1, 4e-6)
    assert sizer.size(beside_live=True) == pytest.approx(fast / 2.5, rel=0.05)
    after(sizer, 3, 4e-6)
    slow = sizer.size(beside_live=True)
    assert slow == pytest.approx(fast / 4, rel=0.1)
    after(sizer, 1, 1e-6)
    assert slow < sizer.size(beside_live=True) < 1.3 * slow
    after(sizer, 15, 1e-6)
    assert sizer.size(beside_live=True) == pytest.approx(fast, rel=0.15)


def test_a_portion_of_nothing_tells_nothing() -> None:
    sizer = BatchSizer()
    sizer.record(0, 1.0)
    assert sizer.size(beside_live=True) == pytest.approx(INITIAL_BYTES)
