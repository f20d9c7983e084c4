"""Detects new epochs, and has a generation's positions compared with the versions that the write database had when the epoch began.

    a message of an unknown epoch ──▶ registry: moving_to ──▶ pages of positions ──[control] compare-versions──▶ command service
                                                          ◀──[control] <projector>.compared── those that are ahead ◀──┘

The registry's cursor is the progress of the comparison; a lost request or reply is requested again. ``epochs`` decides what follows.
"""

import asyncio
import logging
from collections.abc import Iterable
from functools import partial
from typing import Final

from projectors.generations import epochs
from projectors.generations.hosting import Generations, HostedGeneration
from projectors.runtime.failure_messages import compare_request
from shared.messages.control import VersionsCompared
from shared.messaging.broker import Outgoing, Publisher
from shared.runtime.outage import OutageRetry

log: Final = logging.getLogger(__name__)

PAGE: Final = 1000
REQUEST_INTERVAL_S: Final = 5.0


class EpochWatch:
    def __init__(self, projector: str, generations: Generations, publisher: Publisher, outages: OutageRetry) -> None:
        self._projector = projector
        self._generations = generations
        self._publisher = publisher
        self._outages = outages
        self._requested: dict[int, tuple[str | None, str, float]] = {}
        """Generation → the epoch and cursor of the last request, and when it was sent."""
        self._last_epochs: dict[int, str | None] = {}

    @property
    def trouble(self) -> str | None:
        for hosted in self._generations:
            return epochs.trouble(self._projector, hosted.generation)
        return None

    async def record_epochs(self, seen: Iterable[str | None]) -> None:
        """Record unknown epochs among these in every generation; call it before events are applied. Raises Stopped."""
        names = list(seen)
        for hosted in self._generations.each():
            await self._generations.record_epochs(hosted, names)

    async def maintain(self) -> bool:
        """Request comparisons that have no reply for REQUEST_INTERVAL_S. Returns whether a generation has adopted another epoch since the
        last call."""
        adopted = False
        for hosted in list(self._generations):
            generation = hosted.generation
            before = self._last_epochs.get(generation.number)
            if before is not None and before != generation.epoch:
                log.warning(
                    "%s: generation %d goes on in epoch %s", self._projector, generation.number, generation.epoch
                )
                adopted = True
            self._last_epochs[generation.number] = generation.epoch
            if generation.moving_to is not None and not generation.compared and self._may_request(hosted):
                await self._publisher.publish_all(await self._request_comparison(hosted), sleep=self._outages.pause)
        return adopted

    async def compared(self, reply: VersionsCompared) -> list[Outgoing]:
        """Record a reply; returns the request for the next page. Raises StoreUnavailableError."""
        ahead = [f"{stream} at {applied}, not {version}" for stream, applied, version in reply.ahead]
        await self._generations.registry.compared(
            reply.generation, reply.epoch, reply.cursor, reply.following, reply.last, ahead
        )
        await self._generations.refresh()
        hosted = self._generations.get(reply.generation)
        if hosted is None or hosted.generation.moving_to is None or hosted.generation.compared:
            return []
        return await self._request_comparison(hosted)

    def _may_request(self, hosted: HostedGeneration) -> bool:
        generation = hosted.generation
        epoch, cursor, when = self._requested.get(generation.number, (None, "", 0.0))
        return (epoch, cursor) != (
            generation.moving_to,
            generation.compare_cursor,
        ) or _now() - when >= REQUEST_INTERVAL_S

    async def _request_comparison(self, hosted: HostedGeneration) -> list[Outgoing]:
        generation = hosted.generation
        self._requested[generation.number] = (generation.moving_to, generation.compare_cursor, _now())
        step = partial(hosted.store.positions_page, generation.compare_cursor, PAGE)
        found = await self._generations.run_step(hosted, step)
        if found is None or generation.moving_to is None:
            return []
        following, positions = found[0], [each for each in found[1] if hosted.applies(each[0])]
        return list(compare_request(self._projector, generation, epochs.known_epochs(generation), following, positions))


def _now() -> float:
    return asyncio.get_running_loop().time()
