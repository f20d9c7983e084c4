"""Gauges are set once a second by the event loop, from what the process knows; and what only a server knows, by a task, every few seconds.

    Process ──each second──▶ its samplers: no I/O          Figures ──every FIGURES_EVERY_S──▶ a query, in the background

Neither can harm the process: an error is logged, and the gauges of a query that failed are removed, since an old value would be a lie.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from shared.observability.families import Family
from shared.observability.metrics import READY, SAMPLED_AT, UNHEALTHY

log: Final = logging.getLogger(__name__)

FIGURES_EVERY_S: Final = 10.0
FIGURES_DEADLINE_S: Final = 8.0

Sampler = Callable[[], None]
"""Sets gauges from what the process has in memory."""


class HealthGauges:
    """Readiness, and for how long each component has had a problem."""

    def __init__(self, components: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._components = components
        self._clock = clock
        self._since: dict[str, float] = {}

    def set(self, found: Mapping[str, str]) -> None:
        """Component → its problem."""
        now = self._clock()
        self._since = {name: self._since.get(name, now) for name in found}
        READY.set(0 if found else 1)
        for name in self._components:
            UNHEALTHY.set(now - self._since[name] if name in self._since else 0, name)


def sample(samplers: Iterable[Sampler]) -> None:
    """Set the gauges of this process."""
    SAMPLED_AT.set(time.time())
    for sampler in samplers:
        try:
            sampler()
        except Exception:
            log.exception("some gauges could not be set")


class Figures:
    """Reads figures from a server again and again. ``run`` never ends by itself, and never raises."""

    def __init__(
        self, read: Callable[[], Awaitable[None]], *families: Family, every_s: float = FIGURES_EVERY_S
    ) -> None:
        """``read`` sets ``families``."""
        self._read = read
        self._families = families
        self._every_s = every_s

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(FIGURES_DEADLINE_S):
                    await self._read()
            except Exception as error:
                log.debug("figures for metrics are not known: %r", error)
                for family in self._families:
                    family.forget()
            await asyncio.sleep(self._every_s)
