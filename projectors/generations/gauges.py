"""Gauges of a projection's generations: whether the active one is stopped, what it holds, and how long a rebuild still takes."""

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from projectors.generations.hosting import Generations, HostedGeneration
from shared.observability import metrics

WINDOW_S: Final = 60.0


class GenerationGauges:
    """``sample`` needs no server; ``read_held`` asks the store."""

    def __init__(self, projector: str, generations: Generations, clock: Callable[[], float] = time.monotonic) -> None:
        self._projector = projector
        self._generations = generations
        self._clock = clock
        self._scanned: deque[tuple[float, int]] = deque()
        """When how many events of history were applied, within WINDOW_S; of the generation that is being built."""
        self._building = 0

    def sample(self) -> None:
        hosted = list(self._generations)
        if not hosted:
            return
        metrics.STOPPED.set(hosted[0].generation.moving_to is not None, self._projector)
        building = next((each for each in hosted if not each.is_ready), None)
        if building is None:
            metrics.REBUILD_LEFT.replace({})
            metrics.REBUILD_TIME_LEFT.replace({})
        else:
            self._show_rebuild(building)

    async def read_held(self) -> None:
        """Raises StoreUnavailableError, and StopIteration before the first generation is open."""
        for status, count in (await self._generations.active.store.held_by_status()).items():
            metrics.HELD.set(count, self._projector, status.value)

    def _show_rebuild(self, building: HostedGeneration) -> None:
        generation, now = building.generation, self._clock()
        if generation.number != self._building:
            self._building = generation.number
            self._scanned.clear()
        self._scanned.append((now, generation.scanned))
        while self._scanned[0][0] < now - WINDOW_S:
            self._scanned.popleft()
        if generation.total is None:
            return
        left = max(0, generation.total - generation.scanned)
        (began, before), elapsed = self._scanned[0], now - self._scanned[0][0]
        rate = (generation.scanned - before) / elapsed if now > began else 0.0
        metrics.REBUILD_LEFT.set(left, self._projector)
        metrics.REBUILD_TIME_LEFT.set(left / rate if rate > 0 else math.inf if left else 0.0, self._projector)
