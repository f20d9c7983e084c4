"""The active generation: cached for a second, read again on a change message, never set back by a late reply."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

import pytest

from query_service.http.problems import GenerationGoneError
from query_service.stores import active_generation as active_module
from query_service.stores.active_generation import ActiveGeneration, Pointer
from query_service.stores.port import ProjectionProgress, StreamPosition


class Registry:
    """The registry's content, the number of reads, and when it may reply."""

    def __init__(self) -> None:
        self.number = 1
        self.reads = 0
        self.may_reply = asyncio.Event()
        self.may_reply.set()


class Store:
    projection = "summary"

    def __init__(self, registry: Registry, number: int = 1) -> None:
        self.registry = registry
        self.number = number
        self.closing = asyncio.Event()

    def generation(self, number: int) -> Self:
        return type(self)(self.registry, number)

    async def pointer(self) -> Pointer:
        self.registry.reads += 1
        pointer = Pointer(self.registry.number)
        await self.registry.may_reply.wait()
        return pointer

    async def positions(self, streams: Sequence[str]) -> Mapping[str, StreamPosition]:
        return {}

    async def headers(self) -> Mapping[str, str]:
        return {}

    async def progress(self) -> ProjectionProgress:
        raise NotImplementedError

    async def ping(self) -> None: ...

    async def close(self) -> None:
        self.closing.set()

    @property
    def closed(self) -> bool:
        return self.closing.is_set()


async def test_the_registry_is_read_once_a_second_at_most_and_at_least() -> None:
    registry, now = Registry(), [100.0]
    active = ActiveGeneration(Store(registry), clock=lambda: now[0])
    assert {(await active.store()).number for _ in range(3)} == {1}
    assert registry.reads == 1
    registry.number = 2
    assert (await active.store()).number == 1
    now[0] += 1.001
    assert (await active.store()).number == 2
    assert registry.reads == 2


async def test_after_forget_the_next_request_reads_the_registry() -> None:
    registry = Registry()
    active = ActiveGeneration(Store(registry))
    await active.store()
    registry.number = 3
    active.forget()
    assert (await active.store()).number == 3


async def test_a_late_reply_does_not_bring_the_old_generation_back() -> None:
    registry = Registry()
    active = ActiveGeneration(Store(registry))
    registry.may_reply.clear()
    early = asyncio.create_task(active.store())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    registry.number = 2
    active.forget()
    late = asyncio.create_task(active.store())
    await asyncio.sleep(0)
    registry.may_reply.set()
    assert ((await early).number, (await late).number) == (1, 2)
    assert (await active.store()).number == 2


async def test_a_replaced_generation_stays_open_for_a_while_and_is_opened_again_on_rollback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(active_module, "RETIRED_S", 0.01)
    registry = Registry()
    active = ActiveGeneration(Store(registry))
    first = await active.store()
    registry.number = 2
    active.forget()
    second = await active.store()
    assert not first.closed
    async with asyncio.timeout(2):
        await first.closing.wait()
    registry.number = 1
    active.forget()
    again = await active.store()
    assert (again.number, again is first, again.closed) == (1, False, False)
    await active.close()
    assert again.closed
    assert second.closed


async def test_moved_on_from_returns_whether_another_generation_is_active() -> None:
    registry = Registry()
    active = ActiveGeneration(Store(registry))
    await active.store()
    assert not await active.moved_on_from(GenerationGoneError("summary", 1))
    registry.number = 2
    assert await active.moved_on_from(GenerationGoneError("summary", 1))
    await active.close()


async def test_forget_before_the_read_has_begun_reads_again() -> None:
    registry = Registry()
    active = ActiveGeneration(Store(registry))
    reading = asyncio.create_task(active.store())
    await asyncio.sleep(0)
    active.forget()
    registry.number = 2
    async with asyncio.timeout(2):
        assert (await active.store()).number == 2
        await reading
