"""Healing: streams that only lack events are resent; streams with wrong content cannot be repaired that way, and are left alone.

A stream that is behind and whose content does not match its position (for example after a position was set back) would have events
applied twice, so no resend is requested for it. Nor for any stream of the figures while any figure is wrong: they are sums over all.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

from deploy.verify.analytics import AnalyticsModel
from deploy.verify.event_store import EventStore
from deploy.verify.findings import Kind
from deploy.verify.models import Model
from deploy.verify.spill import Spill
from deploy.verify.verifier import Verifier
from projectors.runtime.failure_messages import resend_requests
from shared.messaging.broker import Publisher

BATCH_SIZE: Final = 1000
POLL_INTERVAL_S: Final = 0.2


class Healer:
    def __init__(
        self, verifier: Verifier, models: Sequence[Model], event_store: EventStore, spill: Spill, publisher: Publisher
    ) -> None:
        self._verifier = verifier
        self._models = models
        self._event_store = event_store
        self._spill = spill
        self._publisher = publisher

    async def heal(self, max_wait_s: float) -> int:
        """Request missing events, wait for them, verify those streams again; returns the number of streams. Raises BrokerError."""
        requested = 0
        for model in self._models:
            if isinstance(model, AnalyticsModel) and self._figures_are_wrong(model.name):
                continue
            for streams in self._spill.streams_to_heal(model.name, BATCH_SIZE):
                await self._heal(model, streams, max_wait_s)
                requested += len(streams)
        if requested:
            await self._verifier.settle()
        return requested

    async def _heal(self, model: Model, streams: Sequence[str], max_wait_s: float) -> None:
        applied = await self._verifier.applied(model, streams)
        wanted = [(stream, at + 1) for stream, at in applied.items()]
        for request in resend_requests(model.name, wanted, automatic=False):
            await self._publisher.publish(request)
        versions = (await self._event_store.read(streams, content=False)).versions
        deadline = time.monotonic() + max_wait_s
        while time.monotonic() < deadline:
            if not _behind(await self._verifier.applied(model, streams), versions):
                break
            await asyncio.sleep(POLL_INTERVAL_S)
        self._verifier.suspect(model.name, streams)

    def _figures_are_wrong(self, name: str) -> bool:
        return self._spill.any_of(name, Kind.DIFFERENT) or self._spill.any_of(name, Kind.STRAY)


def _behind(applied: Mapping[str, int], versions: Mapping[str, int]) -> bool:
    return any(applied[stream] < version for stream, version in versions.items())
