"""The findings of an observation of a stream, and when a stream that is behind is overdue."""

from dataclasses import replace
from datetime import timedelta

import pytest

from deploy.verify.findings import Kind, ModelProgress, Observation, differing, findings, overdue
from projectors.stores.port import Hold, HoldStatus, Position
from tests.shop import NOON

LATER = NOON + timedelta(seconds=1)


def hold(status: HoldStatus, version: int) -> Hold:
    return Hold(status, version, version, 1, "reason", "", "", NOON, NOON, None)


@pytest.mark.parametrize(
    ("version", "position", "kinds"),
    [
        (3, Position(3), []),
        (3, Position(2), [Kind.BEHIND]),
        (3, Position(0), [Kind.MISSING]),
        (3, Position(4), [Kind.AHEAD]),
        (0, Position(4), [Kind.STRAY]),
        (0, Position(0), []),
        (3, Position(2, hold(HoldStatus.DEAD, 3)), [Kind.HELD]),
        (3, Position(0, hold(HoldStatus.RETRYING, 1)), [Kind.HELD]),
        (3, Position(2, hold(HoldStatus.GAP, 3)), [Kind.BEHIND]),
        (3, Position(3, hold(HoldStatus.DEAD, 4)), [Kind.AHEAD]),
        (0, Position(0, hold(HoldStatus.DEAD, 1)), [Kind.STRAY]),
    ],
)
def test_an_observation_leads_to_findings(version: int, position: Position, kinds: list[Kind]) -> None:
    assert [one.kind for one in findings("summary", Observation("orders/o-1", version, position, NOON))] == kinds


def test_different_content_is_reported_in_addition_to_a_wrong_version() -> None:
    observation = Observation("orders/o-1", 3, Position(2), NOON, problems=({"row": "missing"},))
    assert [one.kind for one in findings("summary", observation)] == [Kind.DIFFERENT, Kind.BEHIND]
    (stray,) = findings("summary", replace(observation, version=0))
    assert stray.kind is Kind.STRAY


@pytest.mark.parametrize(
    ("applied", "drained_at", "as_of", "stalled", "lost"),
    [
        (2, NOON, LATER, False, True),
        (2, NOON, NOON, False, False),
        (2, None, LATER, False, False),
        (2, NOON, None, False, False),
        (2, NOON, None, True, True),
        (2, None, NOON, True, True),
        (1, NOON, LATER, True, False),
    ],
)
def test_a_stream_is_overdue_after_a_later_heartbeat(
    applied: int, drained_at: object, as_of: object, stalled: bool, lost: bool
) -> None:
    first = Observation("orders/o-1", 3, Position(applied), drained_at)  # type: ignore[arg-type]
    second = Observation("orders/o-1", 3, Position(2), LATER)
    assert overdue(first, second, ModelProgress(as_of, 7), stalled=stalled) is lost  # type: ignore[arg-type]


def test_a_document_differs_field_by_field() -> None:
    assert differing(None, {"a": 1}) == {"row": "unexpected"}
    assert differing({"a": 1}, None) == {"row": "missing"}
    assert differing({"a": 1, "doc": {"x": 1, "y": None}}, {"a": 1, "doc": {"x": 2}}) == {
        "columns": {"doc.x": {"expected": 1, "found": 2}, "doc.y": {"expected": None, "found": None}}
    }
