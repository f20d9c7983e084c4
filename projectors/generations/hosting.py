"""Hosts the generations that the store's registry contains; the registry is read again once a second.

    a batch of live events ──▶ the active generation ──▶ each other one ──▶ acknowledged

So any of them can be activated, or activated again, at any time. A generation that was dropped is closed: that its data are missing is
then not an outage.

Each applies the kinds of stream that the projection reads and that the generation was begun with. The registry records them before the
first event of another kind is skipped: so a kind that is read again later is known to be missing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from projectors.generations.epochs import EpochDecision, decide, newest_unknown
from projectors.generations.registry import GenerationRegistry
from projectors.generations.roles import Role
from projectors.runtime.applying import Applier, ApplyResult
from projectors.runtime.decoding import ArrivedEvent
from projectors.stores.port import Store, StoreUnavailableError
from shared.read_models import is_of
from shared.runtime.outage import OutageRetry
from shared.views.generations import FIRST, Generation, GenerationState, kinds_from_now_on

log: Final = logging.getLogger(__name__)

T = TypeVar("T")


def role_of(generation: Generation) -> Role:
    if generation.active:
        return Role.ACTIVE
    return Role.FOLLOWING if generation.state is GenerationState.READY or generation.done else Role.BUILDING


class HostedGeneration:
    """One generation, with its own store and applier."""

    def __init__(self, generation: Generation, store: Store, applier: Applier) -> None:
        self.generation = generation
        self.store = store
        self.applier = applier
        self.kinds: Collection[str] = ()
        """The kinds of stream that it applies."""

    @property
    def number(self) -> int:
        return self.generation.number

    @property
    def is_ready(self) -> bool:
        return self.generation.state is GenerationState.READY

    def update(self, generation: Generation, read: Collection[str]) -> None:
        """``read``: the kinds of stream that the projection reads."""
        self.generation = generation
        self.kinds = kinds_from_now_on(generation.kinds, read)
        self.applier.role = role_of(generation)

    def applies(self, stream: str) -> bool:
        return is_of(self.kinds, stream)


class Generations:
    """``make``: creates the store and applier of a generation, the store not open yet. ``kinds``: the kinds of stream that the
    projection reads."""

    def __init__(
        self,
        registry: GenerationRegistry,
        make: Callable[[Generation], HostedGeneration],
        outages: OutageRetry,
        kinds: Sequence[str],
    ) -> None:
        self.registry = registry
        self.kinds = kinds
        self._make = make
        self._outages = outages
        self._hosted: dict[int, HostedGeneration] = {}
        self._refreshing = asyncio.Lock()

    def __iter__(self) -> Iterator[HostedGeneration]:
        """The active one first."""
        return iter(sorted(self._hosted.values(), key=lambda hosted: (not hosted.generation.active, hosted.number)))

    @property
    def active(self) -> HostedGeneration:
        return next(iter(self))

    def get(self, number: int) -> HostedGeneration | None:
        return self._hosted.get(number)

    async def open(self) -> None:
        await self.registry.open()
        await self.refresh()

    async def close(self) -> None:
        for hosted in self._hosted.values():
            with suppress(StoreUnavailableError, TimeoutError):
                await hosted.store.close()
        with suppress(StoreUnavailableError, TimeoutError):
            await self.registry.close()

    async def refresh(self) -> None:
        """Open and close generations so that they match the registry. Raises StoreUnavailableError."""
        async with self._refreshing:
            found = {generation.number: generation for generation in await self.registry.generations()}
            for number, hosted in list(self._hosted.items()):
                if number not in found or not _is_same(hosted.generation, found[number]):
                    del self._hosted[number]
                    log.info("generation %d is closed", number)
                    await hosted.store.close()
            for number, generation in found.items():
                known = self._hosted.get(number)
                if known is None:
                    self._hosted[number] = await self._open(generation)
                else:
                    known.update(await self._with_recorded_kinds(known, generation), self.kinds)

    async def _open(self, generation: Generation) -> HostedGeneration:
        hosted = self._make(generation)
        try:
            await hosted.store.open()
            hosted.update(await self._with_recorded_kinds(hosted, generation), self.kinds)
            await hosted.store.release_others(self.kinds)
        except BaseException:
            with suppress(StoreUnavailableError, TimeoutError):
                await hosted.store.close()
            raise
        return hosted

    async def _with_recorded_kinds(self, hosted: HostedGeneration, generation: Generation) -> Generation:
        """The generation, after the registry has recorded which of its kinds are still read. A new store has all kinds that are read."""
        kinds = kinds_from_now_on(generation.kinds, self.kinds)
        if generation.kinds is None and generation.number == FIRST and not await hosted.store.as_of():
            kinds = tuple(self.kinds)
        if kinds == generation.kinds:
            return generation
        recorded = await self.registry.note_kinds(generation.number, generation.kinds, kinds)
        return generation.model_copy(update={"kinds": kinds}) if recorded else generation

    async def apply(
        self, arrived: Sequence[ArrivedEvent], *, limit: int, one_by_one: bool
    ) -> list[tuple[HostedGeneration, ApplyResult]]:
        """Apply these events to every generation, in batches of ``limit`` events; returns each one's result. Raises Stopped.

        ``one_by_one``: for events that may kill the process.
        """
        if not arrived:
            return []
        return [
            (hosted, await self.apply_to(hosted, arrived, limit=limit, one_by_one=one_by_one)) for hosted in self.each()
        ]

    async def apply_to(
        self, hosted: HostedGeneration, arrived: Sequence[ArrivedEvent], *, limit: int, one_by_one: bool
    ) -> ApplyResult:
        await self.record_epochs(hosted, [item.epoch for item in arrived])
        arrived = [
            item
            for item in arrived
            if decide(hosted.generation, item.epoch) is EpochDecision.APPLY and hosted.applies(item.event.stream)
        ]
        if one_by_one:
            return await self._one_by_one(hosted, arrived)
        whole = ApplyResult()
        for start in range(0, len(arrived), limit):
            batch = arrived[start : start + limit]
            applied = await self.run_step(hosted, partial(hosted.applier.apply, batch, letters=whole.letters))
            if applied is None:
                return ApplyResult()
            whole.add(applied)
            whole.add(await self._one_by_one(hosted, applied.suspects))
        return whole

    async def record_epochs(self, hosted: HostedGeneration, seen: Iterable[str | None]) -> None:
        """Record the latest unknown epoch among these, if there is one. Raises Stopped.

        Called again right before events are applied: the registry may have been emptied since the message arrived.
        """
        epoch = newest_unknown(hosted.generation, dict.fromkeys(seen))
        if epoch is not None:
            await self._outages.until_up(partial(self.registry.record_epoch, hosted.number, epoch))
            await self._outages.until_up(self.refresh)
            now = hosted.generation
            if now.moving_to is not None:
                log.warning("generation %d has received epoch %s; its own is %s", now.number, epoch, now.epoch)

    def each(self) -> Iterator[HostedGeneration]:
        """Every generation, the active one first, including those that are opened during the iteration."""
        served: list[HostedGeneration] = []
        while (following := next((hosted for hosted in self if hosted not in served), None)) is not None:
            served.append(following)
            yield following

    async def run_step(
        self, hosted: HostedGeneration, step: Callable[[], Awaitable[T]], *, takes_long: bool = False
    ) -> T | None:
        """The step's result, retried while the store is unavailable; None: the generation has been dropped. Raises Stopped."""

        async def attempt() -> T | None:
            try:
                return await step()
            except StoreUnavailableError:
                await self.refresh()
                if self._hosted.get(hosted.number) is not hosted:
                    return None
                raise

        return await self._outages.until_up(attempt, takes_long=takes_long)

    async def _one_by_one(self, hosted: HostedGeneration, arrived: Sequence[ArrivedEvent]) -> ApplyResult:
        """Apply events that may kill the process: each is recorded before, so that only the deadly one is held, after a limited number of
        attempts."""
        whole = ApplyResult()
        for item in sorted(arrived, key=lambda item: (item.event.stream, item.event.version)):
            applied = await self.run_step(hosted, partial(hosted.applier.record_attempt, item))
            if applied is None:
                applied = await self.run_step(hosted, partial(hosted.applier.apply, [item], recorded=True))
            if applied is not None:
                whole.add(applied)
        return whole


def _is_same(known: Generation, found: Generation) -> bool:
    """False: another one of that number was begun after a drop. The first is always the same, also before the registry contains it."""
    return known.number == FIRST or known.begun_at == found.begun_at
