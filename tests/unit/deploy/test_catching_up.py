"""Waiting for the projections ends when every stream is applied, and at once if a dead letter holds one."""

from collections.abc import Mapping, Sequence

import pytest

from deploy.demo import catching_up
from deploy.demo.catching_up import NotCaughtUpError, wait_until_applied
from deploy.sending.outcomes import percentile


class Store:
    """A read store that applies two more streams at each call of ``behind``; those in ``stuck`` never."""

    def __init__(self, name: str, stuck: Sequence[str] = (), dead: Sequence[str] = ()) -> None:
        self.name = name
        self.stuck = set(stuck)
        self.dead_letters = list(dead)
        self.applied: set[str] = set()

    async def behind(self, versions: Mapping[str, int]) -> Sequence[str]:
        self.applied |= {stream for stream in [*versions][:2] if stream not in self.stuck}
        return [stream for stream in versions if stream not in self.applied]

    async def dead(self, streams: Sequence[str]) -> Sequence[str]:
        return [letter for letter in self.dead_letters if letter in streams]

    async def stream_count(self) -> int:
        return len(self.applied)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catching_up, "POLL_S", 0.001)
    monkeypatch.setattr(catching_up, "DEAD_CHECK_INTERVAL_S", 0.01)
    monkeypatch.setattr(catching_up, "BATCH_SIZE", 4)


VERSIONS = {f"orders/{number}": 1 for number in range(10)}


async def test_every_store_is_waited_for_and_every_stream_is_counted_once() -> None:
    applied_counts: dict[str, int] = {"summary": 0, "search": 0}

    def count(name: str, more: int) -> None:
        applied_counts[name] += more

    times = await wait_until_applied([Store("summary"), Store("search")], VERSIONS, count, no_progress_timeout_s=5)
    assert applied_counts == {"summary": 10, "search": 10}
    assert set(times) == {"summary", "search"}


async def test_without_accepted_streams_it_returns_at_once() -> None:
    assert set(await wait_until_applied([Store("summary")], {}, lambda *_: None, no_progress_timeout_s=5)) == {
        "summary"
    }


async def test_a_dead_letter_ends_the_waiting_at_once() -> None:
    store = Store("search", stuck=["orders/7"], dead=["orders/7"])
    with pytest.raises(NotCaughtUpError, match="search has dead letters: orders/7"):
        await wait_until_applied([Store("summary"), store], VERSIONS, lambda *_: None, no_progress_timeout_s=60)


async def test_a_store_without_progress_raises_after_the_timeout() -> None:
    store = Store("analytics", stuck=["orders/7"])
    with pytest.raises(NotCaughtUpError, match="analytics makes no progress: 1 streams are missing, such as orders/7"):
        await wait_until_applied([store], VERSIONS, lambda *_: None, no_progress_timeout_s=0.05)


def test_percentiles_are_of_the_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([3.0], 0.5) == 3.0
    assert percentile([], 0.5) is None
