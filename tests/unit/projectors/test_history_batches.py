"""Portions of history overlap, and yet no stream is in two at once, and a page is noted only when all of it is in."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, cast

import pytest

from projectors.rebuild.history import MAX_RUNNING, HistoryBatches
from projectors.runtime.decoding import ArrivedEvent, Unreadable
from projectors.stores.port import Event
from shared.messaging.consuming import Delivery
from tests.shop import NOON

SOON_S = 5.0


class Store:
    """Says what was begun and what is in; a portion is in when the test lets it."""

    def __init__(self) -> None:
        self.begun: list[list[str]] = []
        self.sizes: list[int] = []
        self.acknowledged: list[Any] = []
        self.gates: list[asyncio.Future[None]] = []
        self.limit = MAX_RUNNING
        self.batches = HistoryBatches(self.apply, self.acknowledge, limit=lambda: self.limit)

    async def apply(self, batch: Sequence[ArrivedEvent], *, size: int, deadly: bool) -> None:
        assert not deadly
        self.sizes.append(size)
        self.begun.append([f"{item.event.stream}@{item.event.version}" for item in batch])
        self.gates.append(asyncio.get_running_loop().create_future())
        await self.gates[-1]

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        self.acknowledged += deliveries

    async def come(self, message: str, *events: str) -> None:
        await _soon(self.add(message, *events))
        await _others()

    async def add(self, message: str, *events: str) -> None:
        await self.batches.add([(cast("Delivery", _Message(message)), [_arrived(event) for event in events])])

    def let(self, index: int, error: Exception | None = None) -> None:
        if error is None:
            self.gates[index].set_result(None)
        else:
            self.gates[index].set_exception(error)


class _Message(str):
    deliveries = 0

    @property
    def body(self) -> bytes:
        return self.encode()


def _arrived(place: str) -> ArrivedEvent:
    stream, version = place.split("@")
    return ArrivedEvent(Event(place, "test.happened", stream, int(version), NOON, Unreadable(), lane=0), {})


async def _soon(work: Awaitable[None]) -> None:
    async with asyncio.timeout(SOON_S):
        await work


async def _others() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


async def test_a_message_is_acknowledged_when_all_of_it_is_in() -> None:
    store = Store()
    await store.come("m1", "a@1", "b@1")
    assert store.begun == [["a@1"]], "b may go on in the next message"
    store.let(0)
    await _others()
    assert store.acknowledged == []
    await store.come("m2", "b@2", "c@1")
    assert store.begun == [["a@1"], ["b@1", "b@2"]]
    store.let(1)
    await _others()
    assert store.acknowledged == ["m1"]
    assert store.sizes == [0, len("m1")], "a message counts where it is acknowledged"


async def test_a_page_is_noted_when_all_that_came_before_its_end_is_in_and_the_next_does_not_wait_for_it() -> None:
    store, noted = Store(), asyncio.Event()

    async def note() -> None:
        noted.set()

    await store.come("m1", "a@1", "b@1")
    await _soon(store.batches.end_page(note))
    await _others()
    assert store.begun == [["a@1"], ["b@1"]], "the rest is a portion of its own"
    await store.come("m2", "c@1", "d@1")
    assert store.begun[2:] == [["c@1"]]
    store.let(1)
    store.let(2)
    await _others()
    assert not noted.is_set()
    store.let(0)
    await _soon(noted.wait())  # type: ignore[arg-type]


async def test_pages_are_noted_in_their_order() -> None:
    store, noted = Store(), list[int]()

    async def note(page: int) -> None:
        noted.append(page)

    await store.come("m1", "a@1")
    await _soon(store.batches.end_page(lambda: note(1)))
    await store.come("m2", "b@1")
    second = asyncio.create_task(store.batches.end_page(lambda: note(2)))
    await _others()
    store.let(1)
    await _others()
    assert noted == []
    store.let(0)
    await _soon(second)
    await _soon(store.batches.flush())
    assert noted == [1, 2]


async def test_a_stream_that_goes_on_in_the_next_page_waits_for_what_came_of_it_before() -> None:
    store = Store()

    async def note() -> None:
        pass

    await store.come("m1", "a@1", "b@1")
    await _soon(store.batches.end_page(note))
    next_page = asyncio.create_task(store.come("m2", "b@2", "c@1"))
    await _others()
    assert store.begun == [["a@1"], ["b@1"]]
    store.let(0)
    store.let(1)
    await _soon(next_page)
    assert store.begun == [["a@1"], ["b@1"], ["b@2"]]


async def test_a_page_of_which_a_portion_fails_is_not_noted_and_the_failure_comes_out() -> None:
    store, noted = Store(), list[int]()

    async def note() -> None:
        noted.append(1)

    await store.come("m1", "a@1")
    await _soon(store.batches.end_page(note))
    await _others()
    store.let(0, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await _soon(store.batches.flush())
    await _others()
    assert noted == []
    assert store.acknowledged == []


async def test_no_more_than_so_many_portions_are_under_way() -> None:
    store = Store()
    coming = asyncio.create_task(_come_all(store, MAX_RUNNING + 3))
    await _others()
    assert len(store.begun) == MAX_RUNNING
    for index in range(MAX_RUNNING + 2):
        store.let(index)
        await _others()
    await _soon(coming)


async def test_when_fewer_are_to_be_under_way_none_is_begun_before_enough_have_ended() -> None:
    store = Store()
    coming = asyncio.create_task(_come_all(store, MAX_RUNNING + 2))
    await _others()
    store.limit = 1
    for index in range(MAX_RUNNING - 1):
        store.let(index)
        await _others()
        assert len(store.begun) == MAX_RUNNING
    store.let(MAX_RUNNING - 1)
    await _others()
    assert len(store.begun) == MAX_RUNNING + 1
    store.let(MAX_RUNNING)
    await _soon(coming)


async def _come_all(store: Store, count: int) -> None:
    for number in range(count):
        await store.add(f"m{number}", f"s{number}@1")
