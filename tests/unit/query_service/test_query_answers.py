"""ETags and Tidemark-As-Of: what is promised with every answer."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from query_service.consistency.as_of import HEADER, AsOf, rfc3339
from shared.http.etags import etag, matches

T0 = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("header", ['"3.1-ab"', 'W/"3.1-ab"', '"x", "3.1-ab"', "*", '"x",W/"3.1-ab"'])
def test_a_client_that_has_it_is_recognised(header: str) -> None:
    assert matches(header, '"3.1-ab"')


@pytest.mark.parametrize("header", [None, "", '"3.1"', "3.1-ab", '"4.1-ab"'])
def test_a_client_that_has_another_is_not(header: str | None) -> None:
    assert not matches(header, '"3.1-ab"')


def test_a_tag_changes_with_a_version_and_with_the_body() -> None:
    assert len({etag(b"a", 1, 2), etag(b"a", 1, 3), etag(b"b", 1, 2), etag(b"a")}) == 4
    assert etag(b"a", 7, 2).startswith('"7.2-')


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (T0, "2026-03-01T09:30:00Z"),
        (T0 + timedelta(microseconds=1500), "2026-03-01T09:30:00.001500Z"),
        (datetime.fromisoformat("2026-03-01T11:30:00+02:00"), "2026-03-01T09:30:00Z"),
    ],
)
def test_times_are_rfc_3339_in_utc(time: datetime, text: str) -> None:
    assert rfc3339(time) == text


class Progress:
    """A projection's progress that counts how often it is read."""

    def __init__(self, as_of: datetime | None = T0) -> None:
        self.as_of = as_of
        self.reads = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def read(self) -> datetime | None:
        self.reads += 1
        await self.go_on.wait()
        return self.as_of


def clock(now: list[float]) -> Callable[[], float]:
    return lambda: now[0]


async def test_progress_is_remembered_for_a_quarter_of_a_second() -> None:
    progress, now = Progress(), [100.0]
    as_of = AsOf(progress.read, clock(now))
    assert [(await as_of.headers())[HEADER] for _ in range(3)] == ["2026-03-01T09:30:00Z"] * 3
    assert progress.reads == 1
    now[0] += 0.251
    await as_of.headers()
    assert progress.reads == 2


async def test_requests_at_the_same_time_share_one_reading_even_when_the_first_hangs_up() -> None:
    progress = Progress()
    progress.go_on.clear()
    as_of = AsOf(progress.read)
    first, *others = [asyncio.create_task(as_of.headers()) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    progress.go_on.set()
    assert all(HEADER in headers for headers in await asyncio.gather(*others))
    assert progress.reads == 1


async def test_there_is_no_header_before_the_first_heartbeat() -> None:
    assert await AsOf(Progress(None).read).headers() == {}


async def test_an_error_reaches_everyone_who_waits_and_is_not_remembered() -> None:
    outcomes: list[datetime | Exception] = [OSError("down"), T0]

    async def read() -> datetime:
        await asyncio.sleep(0)
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    as_of = AsOf(read)
    failed = await asyncio.gather(as_of.headers(), as_of.headers(), return_exceptions=True)
    assert [type(one) for one in failed] == [OSError, OSError]
    assert HEADER in await as_of.headers()
