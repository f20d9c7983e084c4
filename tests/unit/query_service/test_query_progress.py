"""How far the analytics projection has come, from the fields its projector writes."""

from datetime import UTC, datetime

import pytest

from query_service.stores.redis_store import oldest

EARLY, LATE = "2026-03-01T09:30:00Z", "2026-03-01T09:31:00Z"


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        ({}, None),
        ({"0:as_of": LATE, "1:as_of": EARLY}, datetime(2026, 3, 1, 9, 30, tzinfo=UTC)),
        ({"0:as_of": LATE, "0:events_applied": "3", "1:events_applied": "2"}, None),
        ({"0:as_of": LATE, "1:as_of": ""}, None),
        ({"0:as_of": LATE, "1:as_of": "1970-01-01T00:00:00.000001+00:00"}, None),
    ],
)
def test_the_slowest_lane_decides_and_one_without_a_heartbeat_leaves_it_open(
    progress: dict[str, str], expected: datetime | None
) -> None:
    assert oldest(progress) == expected
