"""Detects within seconds whether a projection is current, behind or stalled, and why, even without requests.

The relay sends a heartbeat through every lane once a second, on the same path as events. So ``as_of`` advances even without
events, and a projection whose ``as_of`` stays behind is not merely idle. A single read cannot distinguish behind from stalled, so the
progress of each projection is read once a second and kept. The states that the worker, the relay and the projector report count
too: while no command can be decided, heartbeats continue but no new events follow.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from query_service.http.problems import StoreDownError
from query_service.stores.active_generation import ActiveGeneration
from query_service.stores.port import ProjectionProgress, promptly
from shared.messaging.announcing import INCOMPLETE, QUEUE_ARGUMENTS, Processes
from shared.views.progress import Freshness, FreshnessStatus

CURRENT_WITHIN_S: Final = 3.0
"""The heartbeat interval (1 s), its transit time, and a margin."""
STALLED_AFTER_S: Final = 4.0
CHECK_INTERVAL_S: Final = 1.0


class FreshnessMonitor:
    """The progress of one projection, and since when it has not changed."""

    def __init__(
        self,
        active: ActiveGeneration[Any],
        processes: Processes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``processes``: the reported states of the processes that a projection depends on."""
        self._active = active
        self._processes = processes or Processes()
        self._clock = clock
        self.trouble: str | None = None
        """Why the projection is stalled, or its store does not answer; None if neither. Set by ``watch``."""
        self.latest: Freshness | None = None
        """What ``watch`` found last; None: the store does not answer."""
        self._last: tuple[int, ProjectionProgress] | None = None
        self._changed_at = clock()

    async def freshness(self) -> Freshness:
        """The current freshness. Raises StoreDownError."""
        store = await self._active.store()
        progress = await store.progress()
        return self.evaluate(store.number, progress, datetime.now(UTC))

    async def watch(self) -> None:
        """Check once a second until cancelled. While the store is unavailable, ``trouble`` is the reason."""
        while True:
            try:
                found = await promptly(self.freshness(), self._active.projection)
            except StoreDownError as error:
                self.trouble, self.latest = error.reason, None
            else:
                self.trouble, self.latest = found.reason, found
            await asyncio.sleep(CHECK_INTERVAL_S)

    def evaluate(self, generation: int, progress: ProjectionProgress, now: datetime) -> Freshness:
        if self._last != (generation, progress):
            self._last = generation, progress
            self._changed_at = self._clock()
        lag = None if progress.as_of is None else (now - progress.as_of).total_seconds()
        unchanged_s = self._clock() - self._changed_at
        status = _status(lag, unchanged_s)
        waits_for = ("worker",) if status is FreshnessStatus.CURRENT else ("worker", "relay", self._active.projection)
        if self._processes.trouble(*waits_for, ignoring={QUEUE_ARGUMENTS, INCOMPLETE}) is not None:
            status = FreshnessStatus.STALLED
        ages = [(now - progress.held_since).total_seconds()] if progress.held_since is not None else []
        if lag is not None and status is not FreshnessStatus.CURRENT:
            ages.append(lag)
        return Freshness(
            projection=self._active.projection,
            generation=generation,
            epoch=self._active.pointer.epoch,
            status=status,
            reason=self._reason(unchanged_s) if status is FreshnessStatus.STALLED else None,
            stopped=self._active.pointer.stopped,
            incomplete=self._active.incomplete,
            as_of=progress.as_of,
            lag_seconds=lag,
            events_applied=progress.events_applied,
            held=progress.held,
            oldest_unapplied_seconds=max(ages, default=None),
        )

    def _reason(self, unchanged_s: float) -> str:
        if (stopped := self._active.pointer.stopped) is not None:
            return stopped.detail
        reported = self._processes.trouble("worker", "relay", self._active.projection, ignoring={INCOMPLETE})
        return reported or f"nothing has moved for {unchanged_s:.0f} s, and no process says why"


def _status(lag: float | None, unchanged_s: float) -> FreshnessStatus:
    if lag is not None and lag <= CURRENT_WITHIN_S:
        return FreshnessStatus.CURRENT
    return FreshnessStatus.STALLED if unchanged_s >= STALLED_AFTER_S else FreshnessStatus.BEHIND
