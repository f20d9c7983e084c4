"""Reads the metrics of every process, and rates from two readings: pure but for ``scrape``."""

import asyncio
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from shared.observability.targets import Target
from shared.runtime.reasons import reason

DEADLINE_S: Final = 3.0

Labels = frozenset[tuple[str, str]]
Series = Mapping[tuple[str, Labels], float]


@dataclass(frozen=True)
class Scrape:
    """The metrics of one process at one time; ``error``: why there are none."""

    target: Target
    at: float
    series: Series = field(default_factory=dict)
    error: str | None = None

    def of(self, name: str, **labels: str) -> dict[Labels, float]:
        """The series of this name that have these labels."""
        wanted = set(labels.items())
        return {found: value for (its, found), value in self.series.items() if its == name and wanted <= found}

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of these series; None without any."""
        found = self.of(name, **labels)
        return sum(found.values()) if found else None


async def scrape(client: httpx.AsyncClient, targets: Sequence[Target]) -> list[Scrape]:
    """All at once, within DEADLINE_S; the order is that of ``targets``."""
    return await asyncio.gather(*(_scrape(client, target) for target in targets))


async def _scrape(client: httpx.AsyncClient, target: Target) -> Scrape:
    try:
        response = (await client.get(target.url, timeout=DEADLINE_S)).raise_for_status()
        return Scrape(target, time.monotonic(), parsed(response.text))
    except (httpx.HTTPError, ValueError) as error:
        return Scrape(target, time.monotonic(), error=reason(error))


def parsed(text: str) -> Series:
    """Raises ValueError for what is no exposition."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Readings:
    """What all processes say now, and how fast it changes since the reading before."""

    def __init__(self, before: Iterable[Scrape], now: Sequence[Scrape]) -> None:
        self.now = now
        self.before = list(before)
        self._before = {scrape.target: scrape for scrape in self.before}

    def highest(self, name: str, by: str, **labels: str) -> dict[str, float]:
        """Value of the label ``by`` → the highest value: for gauges that several processes expose alike."""
        found: dict[str, float] = {}
        for scrape in self.now:
            for its, value in scrape.of(name, **labels).items():
                key = dict(its).get(by, "")
                found[key] = max(value, found.get(key, -math.inf))
        return found

    def rate(self, name: str, by: str, **labels: str) -> dict[str, float]:
        """Value of the label ``by`` → how much a counter rises in a second, of all processes together. A restart counts from zero."""
        found: dict[str, float] = {}
        for scrape in self.now:
            before = self._before.get(scrape.target)
            if before is None or before.error is not None:
                continue
            for its, value in scrape.of(name, **labels).items():
                key, old = dict(its).get(by, ""), before.series.get((name, its), 0.0)
                risen = value - old if value >= old else value
                found[key] = found.get(key, 0.0) + risen / max(scrape.at - before.at, 1e-9)
        return found

    def quantile(self, q: float, name: str, by: str) -> dict[str, float]:
        """Value of the label ``by`` → the upper bound of the bucket with the ``q``-quantile since the reading before."""
        buckets: dict[str, dict[float, float]] = {}
        for bound in {dict(its)["le"] for scrape in self.now for its in scrape.of(f"{name}_bucket")}:
            for key, rate in self.rate(f"{name}_bucket", by, le=bound).items():
                buckets.setdefault(key, {})[float(bound)] = rate
        found = {}
        for key, cumulated in buckets.items():
            whole = cumulated.get(math.inf, 0.0)
            if whole > 0:
                found[key] = min(bound for bound, rate in cumulated.items() if rate >= q * whole)
        return found
