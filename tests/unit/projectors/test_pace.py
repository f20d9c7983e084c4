import pytest

from projectors.pace import FEWEST, MOMENT_S, MOST, Pace


def test_where_nothing_is_live_portions_are_large() -> None:
    pace = Pace()
    pace.took(100, 60.0)
    assert pace.messages(beside_live=False) == MOST


def test_beside_live_events_it_begins_small() -> None:
    assert Pace().messages(beside_live=True) == FEWEST


@pytest.mark.parametrize("messages", range(FEWEST, MOST + 1))
def test_beside_live_events_a_portion_takes_a_moment(messages: int) -> None:
    pace = Pace()
    for _ in range(50):
        pace.took(1000, MOMENT_S * 1000 / (100 * (messages + 0.5)))
    assert pace.messages(beside_live=True) == messages


@pytest.mark.parametrize(("seconds", "messages"), [(1e-12, MOST), (0.0, MOST), (1e6, FEWEST)])
def test_there_are_bounds(seconds: float, messages: int) -> None:
    pace = Pace()
    for _ in range(200):
        pace.took(1000, seconds)
    assert pace.messages(beside_live=True) == messages


def test_it_slows_down_at_once_and_speeds_up_by_and_by() -> None:
    pace = Pace()
    for _ in range(50):
        pace.took(1000, MOMENT_S)
    assert pace.messages(beside_live=True) >= MOST - 1
    pace.took(1000, 5 * MOMENT_S)
    assert pace.messages(beside_live=True) == MOST // 5
    pace.took(200, MOMENT_S / 5)
    assert pace.messages(beside_live=True) < MOST // 2
    for _ in range(20):
        pace.took(200, MOMENT_S / 5)
    assert pace.messages(beside_live=True) >= MOST - 1


def test_a_portion_of_nothing_tells_nothing() -> None:
    pace = Pace()
    pace.took(0, 1.0)
    assert pace.messages(beside_live=True) == FEWEST
