"""Every generation applies live events, also after the registry has changed or been emptied."""

import asyncio
from typing import Any

from projectors.generations.hosting import Generations, HostedGeneration, role_of
from projectors.generations.registry import AppliedPage
from projectors.runtime.applying import Applier
from projectors.runtime.decoding import ArrivedEvent, Unreadable
from projectors.stores.port import Event, StoreUnavailableError
from shared.contracts.registry import KINDS
from shared.messaging import topology
from shared.runtime.outage import OutageRetry
from shared.views.generations import Generation
from tests.memory_registry import MemoryRegistry
from tests.memory_store import MemoryStore
from tests.shop import NOON

EPOCH = "e-1"


class Harness:
    def __init__(self) -> None:
        self.registry = MemoryRegistry(clock=lambda: NOON)
        self.stores: dict[int, MemoryStore] = {}
        self.stopping = asyncio.Event()
        outages = OutageRetry(
            "memory",
            lambda error: isinstance(error, StoreUnavailableError),
            stopping=self.stopping,
            longest_pause_s=0.01,
        )
        self.generations = Generations(self.registry, self._hosted, outages, KINDS)

    async def switched(self) -> None:
        """Make the second generation active, with the epoch recorded in both."""
        await self.registry.record_epoch(1, EPOCH)
        await self.registry.begin(2, kinds=KINDS, rate=None, by="a test")
        await self.registry.scanned(2, AppliedPage(("", 0), ("", 0), 0, 0, NOON, done=True))
        await self.registry.ready(2)
        assert await self.registry.activate(2, by="a test")
        await self.generations.open()

    async def apply(self, *places: tuple[str, int]) -> None:
        arrived = [_arrived(*place) for place in places]
        async with asyncio.timeout(5):
            await self.generations.apply(arrived, limit=100, one_by_one=False)

    def _hosted(self, generation: Generation) -> HostedGeneration:
        store: Any = self.stores.setdefault(generation.number, MemoryStore())
        applier = Applier("memory", store, tiers=(), clock=lambda: NOON, role=role_of(generation))
        return HostedGeneration(generation, store, applier)


def _arrived(stream: str, version: int, *, automatic: bool = False) -> ArrivedEvent:
    event = Event(f"{stream}@{version}", "test.happened", stream, version, NOON, Unreadable(), lane=0)
    return ArrivedEvent(event, {"subject": stream, "streamversion": version}, epoch=EPOCH, automatic=automatic)


async def test_every_generation_applies_live_events() -> None:
    harness = Harness()
    await harness.switched()
    await harness.apply(("orders/a", 1), ("orders/b", 1))
    assert [harness.stores[number].applied for number in (1, 2)] == [{"orders/a": 1, "orders/b": 1}] * 2


async def test_a_store_that_is_emptied_under_the_active_generation_loses_no_event_for_the_first_one() -> None:
    """The registry is lost with it: the active generation no longer exists, and the first one has recorded no epoch."""
    harness = Harness()
    await harness.switched()
    harness.registry.forget_everything()
    harness.stores[2].down = True
    await harness.apply(("orders/a", 1))
    assert [hosted.number for hosted in harness.generations] == [1]
    assert harness.stores[1].applied == {"orders/a": 1}
    assert harness.generations.active.generation.epoch == EPOCH


async def test_resends_that_come_together_make_one_letter_however_the_batch_is_parted() -> None:
    """Nothing of it is published before the last part has been applied."""
    harness = Harness()
    await harness.switched()
    harness.stores[2].failing = {"orders/a"}
    resent = [_arrived("orders/a", 1, automatic=True)] * 4
    done = await harness.generations.apply(resent, limit=1, one_by_one=False)
    letters = [message for _, applied in done for message in applied.outgoing if message.exchange == topology.DEAD]
    assert [letter.headers["tidemark-attempts"] for letter in letters] == [1]
    assert harness.stores[1].applied == {"orders/a": 1}
