"""Who waits for a write is woken by news, and by looks where news fail."""

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


class World:
    """Generations of a store: what each has applied, which one is active, and how often anybody looked."""

    def __init__(self) -> None:
        self.active = 1
        self.standings: dict[int, dict[str, StreamPosition]] = {1: {}, 2: {}}
        self.looks: list[Sequence[str]] = []
        self.looked = asyncio.Event()
        self.trouble: StoreDownError | None = None


class Store:
    projection = "summary"

    def __init__(self, world: World, number: int = 1) -> None:
        self.world = world
        self.number = number

    def generation(self, number: int) -> Self:
        return type(self)(self.world, number)

    async def pointer(self) -> Pointer:
        return Pointer(self.world.active)

    async def standings(self, streams: Sequence[str]) -> Mapping[str, StreamPosition]:
        found = {stream: at for stream in streams if (at := self.world.standings[self.number].get(stream))}
        await asyncio.sleep(0)
        self.world.looks.append(streams)
        self.world.looked.set()
        if self.world.trouble is not None:
            raise self.world.trouble
        return found

    async def headers(self) -> Mapping[str, str]:
        return {}

    async def progress(self) -> ProjectionProgress:
        raise NotImplementedError

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def active(world: World) -> ActiveGeneration[Store]:
    return ActiveGeneration(Store(world))


@pytest.fixture
def waiting(active: ActiveGeneration[Store], monkeypatch: pytest.MonkeyPatch) -> PositionWaiters:
    """Without the backstop, which would hide what news fail to do."""
    monkeypatch.setattr(waiting_module, "BACKSTOP_S", 3600.0)
    return PositionWaiters(active)


async def asked(
    world: World, waiting: PositionWaiters, wanted: Mapping[str, int]
) -> asyncio.Task[Reached | NotReached]:
    """Somebody who waits, and has looked in vain."""
    world.looked.clear()
    task = asyncio.create_task(waiting.until(wanted, LONG))
    async with asyncio.timeout(5):
        await world.looked.wait()
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


async def test_what_is_there_is_answered_after_one_look(world: World, waiting: PositionWaiters) -> None:
    world.standings[1] = {"orders/a": StreamPosition(3)}
    assert await waiting.until({"orders/a": 2}, LONG) == Reached(1)
    assert len(world.looks) == 1
    assert waiting.streams == 0


async def test_without_a_wait_what_is_not_there_is_said_at_once(world: World, waiting: PositionWaiters) -> None:
    world.standings[1] = {"orders/a": StreamPosition(1)}
    assert await waiting.until({"orders/a": 2}, 0) == NotReached("orders/a", 2, StreamPosition(1))
    assert await waiting.until({"orders/b": 1}, 0) == NotReached("orders/b", 1, StreamPosition())


async def test_news_wake_whoever_waits_without_another_look_and_later_versions_do_for_earlier_ones(
    world: World, waiting: PositionWaiters
) -> None:
    tasks = [await asked(world, waiting, {"orders/a": version}) for version in (1, 2, 3)]
    looks = len(world.looks)
    waiting.advanced(1, [("orders/b", 9), ("orders/a", 2)])
    assert [await outcome(task) for task in tasks[:2]] == [Reached(1), Reached(1)]
    assert not tasks[2].done()
    waiting.advanced(1, [("orders/a", 3)])
    assert await outcome(tasks[2]) == Reached(1)
    assert len(world.looks) == looks
    assert waiting.streams == 0


async def test_all_that_is_wanted_must_be_there(world: World, waiting: PositionWaiters) -> None:
    task = await asked(world, waiting, {"orders/a": 1, "customers/c": 1})
    waiting.advanced(1, [("orders/a", 1)])
    await asyncio.sleep(0)
    assert not task.done()
    waiting.advanced(1, [("customers/c", 4)])
    assert await outcome(task) == Reached(1)


async def test_what_is_committed_while_somebody_looks_is_not_missed(world: World, waiting: PositionWaiters) -> None:
    task = asyncio.create_task(waiting.until({"orders/a": 1}, LONG))
    await until(lambda: waiting.streams > 0)
    waiting.advanced(1, [("orders/a", 1)])
    world.standings[1] = {"orders/a": StreamPosition(1)}
    assert await outcome(task) == Reached(1)


async def test_news_of_another_generation_say_nothing(world: World, waiting: PositionWaiters) -> None:
    task = await asked(world, waiting, {"orders/a": 1})
    waiting.advanced(2, [("orders/a", 1)])
    await asyncio.sleep(0.01)
    assert not task.done()
    task.cancel()


async def test_a_switch_asks_all_that_is_wanted_of_the_new_generation(
    world: World, waiting: PositionWaiters, active: ActiveGeneration[Store]
) -> None:
    task = await asked(world, waiting, {"orders/a": 1, "orders/b": 1})
    waiting.advanced(1, [("orders/a", 1)])
    world.active = 2
    world.standings[2] = {"orders/b": StreamPosition(1)}
    active.forget()
    waiting.look_again()
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


async def test_a_stream_that_dies_is_said_at_once_and_one_that_is_retried_is_waited_for(
    world: World, waiting: PositionWaiters
) -> None:
    task = await asked(world, waiting, {"orders/a": 2})
    world.standings[1] = {"orders/a": StreamPosition(1, Hold("retrying", 2, "projection-failed"))}
    waiting.advanced(1, [], [("orders/a", 2)])
    await asyncio.sleep(0.05)
    assert not task.done()
    dead = StreamPosition(1, Hold("dead", 2, "projection-failed"))
    world.standings[1] = {"orders/a": dead}
    waiting.advanced(1, [], [("orders/a", 2)])
    found = await outcome(task)
    assert found == NotReached("orders/a", 2, dead)
    assert found.hopeless
    assert await outcome(asyncio.create_task(waiting.until({"orders/a": 2}, LONG))) == found


async def test_lost_news_are_made_up_for_when_the_connection_is_back_and_by_the_backstop(
    world: World, waiting: PositionWaiters, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await asked(world, waiting, {"orders/a": 1})
    world.standings[1] = {"orders/a": StreamPosition(1)}
    waiting.look_again()
    assert await outcome(task) == Reached(1)
    monkeypatch.setattr(waiting_module, "BACKSTOP_S", 0.02)
    again = PositionWaiters(ActiveGeneration(Store(world)))
    task = await asked(world, again, {"orders/b": 1})
    world.standings[1] = {"orders/b": StreamPosition(1)}
    assert await outcome(task) == Reached(1)


async def test_at_the_deadline_one_last_look_decides(world: World, waiting: PositionWaiters) -> None:
    world.standings[1] = {"orders/a": StreamPosition(1)}
    assert await waiting.until({"orders/a": 2}, 0.05) == NotReached("orders/a", 2, StreamPosition(1))
    task = asyncio.create_task(waiting.until({"orders/a": 2}, 0.05))
    await until(lambda: waiting.streams > 0)
    await asyncio.sleep(0.01)
    world.standings[1] = {"orders/a": StreamPosition(2)}
    assert await outcome(task) == Reached(1)


async def test_a_store_that_goes_down_is_said_to_all_who_wait(world: World, waiting: PositionWaiters) -> None:
    tasks = [await asked(world, waiting, {f"orders/{name}": 1}) for name in "ab"]
    world.trouble = StoreDownError("summary", "it cannot be reached")
    waiting.look_again()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results == [world.trouble, world.trouble]
    assert waiting.streams == 0


async def test_thousands_who_wait_share_their_looks(world: World, waiting: PositionWaiters) -> None:
    tasks = [asyncio.create_task(waiting.until({f"orders/{number}": 1}, LONG)) for number in range(3000)]
    await until(lambda: sum(map(len, world.looks)) == 3000)
    assert len(world.looks) <= 6
    waiting.advanced(1, [(f"orders/{number}", 1) for number in range(3000)])
    assert set(await asyncio.gather(*tasks)) == {Reached(1)}
    assert waiting.streams == 0


async def test_who_waits_is_answered_when_the_process_stops(world: World, waiting: PositionWaiters) -> None:
    task = await asked(world, waiting, {"orders/a": 1})
    waiting.end()
    assert await outcome(task) == NotReached("orders/a", 1, StreamPosition())
    assert await outcome(asyncio.create_task(waiting.until({"orders/a": 1}, LONG))) == NotReached(
        "orders/a", 1, StreamPosition()
    )
