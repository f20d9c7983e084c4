"""What a generation does about the epochs of the write database."""

from typing import Any

import pytest

from projectors.generations import epochs
from projectors.generations.epochs import EpochDecision
from projectors.generations.registry import DEFAULT_GENERATION
from shared.views.generations import Generation


def generation(**fields: Any) -> Generation:
    return DEFAULT_GENERATION.model_copy(update=fields)


def after(at: Generation, changes: dict[str, object]) -> Generation:
    return at.model_copy(update=changes)


@pytest.mark.parametrize(
    ("at", "epoch", "expected"),
    [
        (generation(), None, EpochDecision.APPLY),
        (generation(), "a", EpochDecision.RECORD),
        (generation(epoch="a"), "a", EpochDecision.APPLY),
        (generation(epoch="a"), None, EpochDecision.APPLY),
        (generation(epoch="a"), "b", EpochDecision.RECORD),
        (generation(epoch="b", former=("a",)), "a", EpochDecision.SKIP),
        (generation(epoch="a", moving_to="b"), "a", EpochDecision.SKIP),
        (generation(epoch="a", moving_to="b"), "b", EpochDecision.SKIP),
        (generation(epoch="a", moving_to="b"), None, EpochDecision.SKIP),
        (generation(epoch="a", moving_to="b"), "c", EpochDecision.RECORD),
    ],
)
def test_a_message_is_applied_skipped_or_has_a_new_epoch(
    at: Generation, epoch: str | None, expected: EpochDecision
) -> None:
    assert epochs.decide(at, epoch) is expected
    assert (epochs.newest_unknown(at, [None, epoch]) is not None) == (expected is EpochDecision.RECORD)


def test_the_first_epoch_heard_of_is_its_own_and_another_one_has_to_be_compared() -> None:
    own = after(DEFAULT_GENERATION, epochs.changes_on_new_epoch(DEFAULT_GENERATION, "a"))
    assert (own.epoch, own.moving_to) == ("a", None)
    assert epochs.changes_on_new_epoch(own, "a") == {}
    moving = after(own, epochs.changes_on_new_epoch(own, "b"))
    assert (moving.epoch, moving.moving_to) == ("a", "b")
    assert epochs.changes_on_new_epoch(moving, "b") == {}
    assert epochs.trouble("summary", moving) is not None


def test_where_nothing_is_ahead_it_goes_on_in_the_new_epoch() -> None:
    moving = generation(epoch="a", moving_to="b", former=("z",))
    halfway = after(moving, epochs.changes_on_comparing(moving, "b", "", "orders/o-5", last=False, ahead=[]))
    assert (halfway.moving_to, halfway.compare_cursor) == ("b", "orders/o-5")
    done = after(halfway, epochs.changes_on_comparing(halfway, "b", "orders/o-5", "", last=True, ahead=[]))
    assert (done.epoch, done.moving_to, done.former) == ("b", None, ("a", "z"))
    assert epochs.trouble("summary", done) is None


def test_where_something_is_ahead_it_stops_until_it_is_told() -> None:
    moving = generation(epoch="a", moving_to="b")
    some = [f"orders/o-{n} at 2, not 1" for n in range(7)]
    halfway = after(moving, epochs.changes_on_comparing(moving, "b", "", "x", last=False, ahead=some))
    stopped = after(halfway, epochs.changes_on_comparing(halfway, "b", "x", "", last=True, ahead=[]))
    assert (stopped.epoch, stopped.moving_to, stopped.ahead, stopped.compared) == ("a", "b", 7, True)
    said = epochs.trouble("summary", stopped)
    assert said is not None
    assert all(part in said for part in ("b", "7 streams", "orders/o-0", "rebuild summary", "adopt-epoch summary"))
    adopted = after(stopped, epochs.changes_on_adopting(stopped))
    assert (adopted.epoch, adopted.moving_to, adopted.ahead, adopted.examples) == ("b", None, 0, ())


def test_an_answer_that_comes_twice_or_late_changes_nothing() -> None:
    moving = generation(epoch="a", moving_to="b", compare_cursor="x", ahead=1)
    for epoch, cursor in (("b", ""), ("c", "x")):
        assert epochs.changes_on_comparing(moving, epoch, cursor, "y", last=True, ahead=["again"]) == {}
    assert epochs.changes_on_comparing(generation(epoch="b"), "b", "", "", last=True, ahead=[]) == {}


def test_a_new_generation_begins_in_the_newest_epoch_that_was_heard_of() -> None:
    assert epochs.epochs_for_new_generation(generation(epoch="a", former=("z",))) == {"epoch": "a", "former": ("z",)}
    assert epochs.epochs_for_new_generation(generation(epoch="a", moving_to="b")) == {"epoch": "b", "former": ("a",)}
