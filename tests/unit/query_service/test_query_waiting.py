"""Requests that wait for a write are woken by change messages, and by reloaded positions if messages are lost."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import pytest

from query_service.consistency import waiting as waiting_module
from query_service.consistency.waiting import NotReached, PositionWaiters, Reached
from query_service.http.problems import StoreDownError
from query_service.stores.active_generation import ActiveGeneration, Pointer
from query_service.stores.port import Hold, ProjectionProgress, StreamPosition

LONG = 20.0


class SimulatedStores:
    """Generations of a store: the positions of each, the active one, and the loads so far."""

    def __init__(self) -> None:
        self.active = 1
        self.positions: dict[int, dict[str, StreamPosition]] = {1: {}, 2: {}}
        self.loads: list[Sequence[str]] = []
        self.loaded = asyncio.Event()
        self.trouble: StoreDownError | None = None


class Store:
    projection = "summary"

    def __init__(self, stores: SimulatedStores, number: int = 1) -> None:
        self.stores = stores
        self.number = number

    def generation(self, number: int) -> Self:
        return type(self)(self.stores, number)

    async def pointer(self) -> Pointer:
        return Pointer(self.stores.active)

    async def positions(self, streams: Sequence[str]) -> Mapping[str, StreamPosition]:
        found = {stream: at for stream in streams if (at := self.stores.positions[self.number].get(stream))}
        await asyncio.sleep(0)
        self.stores.loads.append(streams)
        self.stores.loaded.set()
        if self.stores.trouble is not None:
            raise self.stores.trouble
        return found

    async def headers(self) -> Mapping[str, str]:
        return {}

    async def progress(self) -> ProjectionProgress:
        raise NotImplementedError

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
def stores() -> SimulatedStores:
    return SimulatedStores()


@pytest.fixture
def active(stores: SimulatedStores) -> ActiveGeneration[Store]:
    return ActiveGeneration(Store(stores))


@pytest.fixture
def waiting(active: ActiveGeneration[Store], monkeypatch: pytest.MonkeyPatch) -> PositionWaiters:
    """Without the backstop, which would hide missed change messages."""
    monkeypatch.setattr(waiting_module, "BACKSTOP_S", 3600.0)
    return PositionWaiters(active)


async def start_waiting(
    stores: SimulatedStores, waiting: PositionWaiters, wanted: Mapping[str, int]
) -> asyncio.Task[Reached | NotReached]:
    """A request that waits: it has loaded its positions, and they are too low."""
    stores.loaded.clear()
    task = asyncio.create_task(waiting.until(wanted, LONG))
    async with asyncio.timeout(5):
        await stores.loaded.wait()
    await asyncio.sleep(0.01)
    assert not task.done()
    return task


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while True:
            if holds():
                return
            await asyncio.sleep(0)


async def outcome(task: asyncio.Task[Reached | NotReached]) -> Reached | NotReached:
    async with asyncio.timeout(5):
        return await task


async def test_an_applied_version_is_reached_after_one_load(stores: SimulatedStores, waiting: PositionWaiters) -> None:
    stores.positions[1] = {"orders/a": StreamPosition(3)}
    assert await waiting.until({"orders/a": 2}, LONG) == Reached(1)
    assert len(stores.loads) == 1
    assert waiting.streams == 0


async def test_without_a_wait_a_missing_version_is_reported_at_once(
    stores: SimulatedStores, waiting: PositionWaiters
) -> None:
    stores.positions[1] = {"orders/a": StreamPosition(1)}
    assert await waiting.until({"orders/a": 2}, 0) == NotReached("orders/a", 2, StreamPosition(1))
    assert await waiting.until({"orders/b": 1}, 0) == NotReached("orders/b", 1, StreamPosition())


async def test_change_messages_wake_waiters_without_another_load_and_later_versions_satisfy_earlier_ones(
    stores: SimulatedStores, waiting: PositionWaiters
) -> None:
    tasks = [await start_waiting(stores, waiting, {"orders/a": version}) for version in (1, 2, 3)]
    loads = len(stores.loads)
    waiting.advanced(1, [("orders/b", 9), ("orders/a", 2)])
    assert [await outcome(task) for task in tasks[:2]] == [Reached(1), Reached(1)]
    assert not tasks[2].done()
    waiting.advanced(1, [("orders/a", 3)])
    assert await outcome(tasks[2]) == Reached(1)
    assert len(stores.loads) == loads
    assert waiting.streams == 0


async def test_all_requested_versions_must_be_applied(stores: SimulatedStores, waiting: PositionWaiters) -> None:
    task = await start_waiting(stores, waiting, {"orders/a": 1, "customers/c": 1})
    waiting.advanced(1, [("orders/a", 1)])
    await asyncio.sleep(0)
    assert not task.done()
    waiting.advanced(1, [("customers/c", 4)])
    assert await outcome(task) == Reached(1)


async def test_a_commit_during_a_load_is_not_missed(stores: SimulatedStores, waiting: PositionWaiters) -> None:
    task = asyncio.create_task(waiting.until({"orders/a": 1}, LONG))
    await until(lambda: waiting.streams > 0)
    waiting.advanced(1, [("orders/a", 1)])
    stores.positions[1] = {"orders/a": StreamPosition(1)}
    assert await outcome(task) == Reached(1)


async def test_change_messages_of_another_generation_are_ignored(
    stores: SimulatedStores, waiting: PositionWaiters
) -> None:
    task = await start_waiting(stores, waiting, {"orders/a": 1})
    waiting.advanced(2, [("orders/a", 1)])
    await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()


async def test_after_a_switch_all_requested_versions_must_be_in_the_new_generation(
    stores: SimulatedStores, waiting: PositionWaiters, active: ActiveGeneration[Store]
) -> None:
    task = await start_waiting(stores, waiting, {"orders/a": 1, "orders/b": 1})
    waiting.advanced(1, [("orders/a", 1)])
    stores.active = 2
    stores.positions[2] = {"orders/b": StreamPosition(1)}
    active.forget()
    waiting.reload_positions()
    await asyncio.sleep(0.05)
    assert not task.done()
    waiting.advanced(1, [("orders/b", 1), ("orders/a", 1)])
    await asyncio.sleep(0.01)
    assert not task.done()
    waiting.advanced(2, [("orders/a", 1)])
    assert await outcome(task) == Reached(2)
    found = active.at(2)
    assert found is not None
    assert found.number == 2


async def test_a_stream_held_by_a_dead_letter_is_reported_at_once_and_a_retried_one_is_waited_for(
    stores: SimulatedStores, waiting: PositionWaiters
) -> None:
    task = await start_waiting(stores, waiting, {"orders/a": 2})
    stores.positions[1] = {"orders/a": StreamPosition(1, Hold("retrying", 2, "projection-failed"))}
    waiting.advanced(1, [], [("orders/a", 2)])
    await asyncio.sleep(0.05)
    assert not task.done()
    dead = StreamPosition(1, Hold("dead", 2, "projection-failed"))
    stores.positions[1] = {"orders/a": dead}
    waiting.advanced(1, [], [("orders/a", 2)])
    found = await outcome(task)
    assert found == NotReached("orders/a", 2, dead)
    assert found.held_by_dead_letter
    assert await outcome(asyncio.create_task(waiting.until({"orders/a": 2}, LONG))) == found


async def test_positions_are_reloaded_on_reconnect_and_by_the_backstop_if_messages_were_lost(
    stores: SimulatedStores, waiting: PositionWaiters, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await start_waiting(stores, waiting, {"orders/a": 1})
    stores.positions[1] = {"orders/a": StreamPosition(1)}
    waiting.reload_positions()
    assert await outcome(task) == Reached(1)
    monkeypatch.setattr(waiting_module, "BACKSTOP_S", 0.02)
    again = PositionWaiters(ActiveGeneration(Store(stores)))
    task = await start_waiting(stores, again, {"orders/b": 1})
    stores.positions[1] = {"orders/b": StreamPosition(1)}
    assert await outcome(task) == Reached(1)


async def test_one_last_load_at_the_deadline_decides(stores: SimulatedStores, waiting: PositionWaiters) -> None:
    stores.positions[1] = {"orders/a": StreamPosition(1)}
    assert await waiting.until({"orders/a": 2}, 0.05) == NotReached("orders/a", 2, StreamPosition(1))
    task = asyncio.create_task(waiting.until({"orders/a": 2}, 0.05))
    await until(lambda: waiting.streams > 0)
    await asyncio.sleep(0.01)
    stores.positions[1] = {"orders/a": StreamPosition(2)}
    assert await outcome(task) == Reached(1)


async def test_an_outage_of_the_store_is_raised_in_all_waiters(
    stores: SimulatedStores, waiting: PositionWaiters
) -> None:
    tasks = [await start_waiting(stores, waiting, {f"orders/{name}": 1}) for name in "ab"]
    stores.trouble = StoreDownError("summary", "it cannot be reached")
    waiting.reload_positions()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results == [stores.trouble, stores.trouble]
    assert waiting.streams == 0


async def test_thousands_of_waiters_share_their_loads(stores: SimulatedStores, waiting: PositionWaiters) -> None:
    tasks = [asyncio.create_task(waiting.until({f"orders/{number}": 1}, LONG)) for number in range(3000)]
    await until(lambda: sum(map(len, stores.loads)) == 3000)
    assert len(stores.loads) <= 6
    waiting.advanced(1, [(f"orders/{number}", 1) for number in range(3000)])
    assert set(await asyncio.gather(*tasks)) == {Reached(1)}
    assert waiting.streams == 0


async def test_waiters_are_answered_when_the_process_stops(stores: SimulatedStores, waiting: PositionWaiters) -> None:
    task = await start_waiting(stores, waiting, {"orders/a": 1})
    waiting.end()
    assert await outcome(task) == NotReached("orders/a", 1, StreamPosition())
    assert await outcome(asyncio.create_task(waiting.until({"orders/a": 1}, LONG))) == NotReached(
        "orders/a", 1, StreamPosition()
    )
