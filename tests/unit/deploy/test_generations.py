"""Which generation a command means, and what is said of a rebuild's pace."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import typer

from deploy.cli.projections import generation_choice
from deploy.cli.projections.following import RebuildRate, describe_phase
from deploy.compare.comparison import differences, unchanged_differences
from shared.views.generations import Generation, GenerationState, next_free

BEGUN = datetime(2026, 4, 1, tzinfo=UTC)


def one(number: int, *, active: bool = False, ready: bool = True, activated: int | None = None) -> Generation:
    return Generation(
        number=number,
        state=GenerationState.READY if ready else GenerationState.BUILDING,
        active=active,
        begun_at=BEGUN,
        updated_at=BEGUN,
        activated_at=None if activated is None else BEGUN + timedelta(hours=activated),
    )


def numbers(found: tuple[Generation, Generation]) -> tuple[int, int]:
    return found[0].number, found[1].number


def test_the_newest_that_is_ready_is_compared_with_the_active_one() -> None:
    known = [one(1, active=True), one(2), one(3), one(4, ready=False)]
    assert numbers(generation_choice.pair("summary", known, None, None)) == (3, 1)
    assert numbers(generation_choice.pair("summary", known, 2, None)) == (2, 1)
    assert numbers(generation_choice.pair("summary", known, None, 2)) == (3, 2)


def test_the_active_one_is_compared_with_the_one_before() -> None:
    known = [one(1, activated=1), one(2, activated=2), one(3, active=True, activated=3), one(4)]
    assert numbers(generation_choice.pair("summary", known, 3, None)) == (3, 2)


@pytest.mark.parametrize(
    ("known", "ask"),
    [
        ([one(1, active=True)], lambda known: generation_choice.newest_ready("summary", known)),
        ([one(1, active=True), one(2, ready=False)], lambda known: generation_choice.newest_ready("summary", known)),
        ([one(1, active=True)], lambda known: generation_choice.pair("summary", known, 1, None)),
        ([one(1, active=True), one(2, ready=False)], lambda known: generation_choice.pair("summary", known, 2, 1)),
        ([one(1, active=True), one(2)], lambda known: generation_choice.pair("summary", known, 2, 3)),
    ],
)
def test_where_there_is_no_such_generation_the_command_ends(
    known: list[Generation], ask: Callable[[list[Generation]], object]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        ask(known)
    assert ended.value.exit_code == 1


def test_numbers_that_are_free_follow_the_highest_there_is() -> None:
    assert next_free([one(1, active=True)]) == 2
    assert next_free([one(2), one(5, active=True)]) == 6


def test_a_pace_is_that_of_the_last_seconds() -> None:
    pace = RebuildRate()
    for second in range(20):
        pace.record(second, min(second, 10) * 100 + max(0, second - 10) * 1000)
    assert pace.rate == pytest.approx(1000)
    assert pace.remaining_s(total=20_000) == pytest.approx(10)
    assert pace.remaining_s(total=None) is None
    assert pace.stalled_s() is None


def test_a_rebuild_that_does_not_move_says_so() -> None:
    pace = RebuildRate()
    for second in range(0, 40, 2):
        pace.record(second, min(second, 4))
    assert pace.rate == 0
    assert pace.remaining_s(total=100) is None
    building = one(2, ready=False)
    assert "nothing has moved for 34 s" in describe_phase(building, pace)


def test_streams_that_advanced_are_not_differences() -> None:
    first = {"a": (1, 2), "b": (1, 2), "c": (0, 1)}
    assert unchanged_differences(first, {"a": (1, 2), "b": (2, 3)}) == ({"a": (1, 2)}, 1)


def test_fields_of_documents_are_named() -> None:
    here = {"id": 1, "doc": {"a": 1, "b": [1]}, "other": 1}
    there = {"id": 1, "doc": {"a": 1, "b": [2], "c": None}, "other": 2}
    found = differences(here, there, ["id", "doc"])
    assert [(each.column, each.values) for each in found] == [("doc.b", ([1], [2]))]
