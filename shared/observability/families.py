"""Metric families whose number of series is bounded, and which cost a dictionary look-up and an addition to record.

    COMMANDS.add(3, "orders.place-order", "accepted", "")        Family ──label values──▶ child of prometheus-client ──▶ /metrics

A family with ``most`` children folds every further combination of labels into one child, all of whose labels are ``other``: so whatever
arrives in a message or a request cannot make a process keep, or Prometheus store, an unbounded number of series. Record once for a batch
wherever that is possible. A family is exposed by a
process once it is recorded there, or once ``begin`` was called for it.
"""

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final

import prometheus_client
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.samples import Exemplar

OTHER: Final = "other"
MOST: Final = 100
REGISTRY: Final = CollectorRegistry(auto_describe=False)
FAMILIES: Final[list["Family"]] = []
"""Every family that is declared, whether it exists in this process or not."""

disable_created_metrics()  # type: ignore[no-untyped-call]

Labels = tuple[str, ...]


class Family:
    """One metric. ``of``: the deployables in which it exists from the start; empty: all."""

    kind: str
    _make: Any

    def __init__(self, name: str, help_: str, *labels: str, of: Sequence[str] = (), most: int = MOST) -> None:
        """``most``: the number of label combinations with a series of their own."""
        self.name = name
        self.help = help_
        self.labels = labels
        self.of = of
        self.most = most
        self._metric: Any = None
        self._children: dict[Labels, Any] = {}
        FAMILIES.append(self)

    @property
    def series(self) -> int:
        """The most series that it can have in one process."""
        return (self.most + 1) if self.labels else 1

    def begin(self) -> None:
        """Expose it as zero from now on, where it has no labels."""
        if not self.labels:
            self._child(())

    def forget(self) -> None:
        """Remove every series: what they said is not known any more."""
        for values in list(self._children):
            self._remove(values)

    def _made(self) -> Any:
        return self._make(self.name, self.help, self.labels, registry=REGISTRY)

    def _child(self, values: Labels) -> Any:
        child = self._children.get(values)
        return self._add(values) if child is None else child

    def _add(self, values: Labels) -> Any:
        if self._metric is None:
            self._metric = self._made()
        if not self.labels:
            child = self._metric
        else:
            if len(self._children) >= self.most:
                values = (OTHER,) * len(self.labels)
            child = self._metric.labels(*values)
        self._children[values] = child
        return child

    def _remove(self, values: Labels) -> None:
        del self._children[values]
        if self.labels:
            self._metric.remove(*values)
        else:
            REGISTRY.unregister(self._metric)
            self._metric = None


class Counter(Family):
    kind = "counter"
    _make = prometheus_client.Counter

    def add(self, count: float = 1, *values: str) -> None:
        self._child(values).inc(count)


class Gauge(Family):
    kind = "gauge"
    _make = prometheus_client.Gauge

    def begin(self) -> None:
        """Nothing: a gauge is exposed once its value is known."""

    def set(self, value: float, *values: str) -> None:
        self._child(values).set(value)

    def replace(self, found: Mapping[Labels, float]) -> None:
        """Set these, and remove all others."""
        for values, value in found.items():
            self._child(values).set(value)
        for values in self._children.keys() - found.keys():
            if values != (OTHER,) * len(self.labels):
                self._remove(values)


class _Counts(prometheus_client.Histogram):
    """A histogram that records several observations at once."""

    def add(self, place: int, count: int, total: float) -> None:
        """``count`` observations in the bucket ``place``, ``total`` together."""
        self._sum.inc(total)
        self._buckets[place].inc(count)

    def exemplify(self, place: int, value: float, trace_id: str) -> None:
        """Name a trace as an example of the observations in the bucket ``place``."""
        self._buckets[place].set_exemplar(Exemplar({"trace_id": trace_id}, value, time.time()))


class Histogram(Family):
    kind = "histogram"
    _make = _Counts

    def __init__(
        self, name: str, help_: str, *labels: str, buckets: Sequence[float], of: Sequence[str] = (), most: int = MOST
    ) -> None:
        super().__init__(name, help_, *labels, of=of, most=most)
        self.buckets = tuple(buckets)

    @property
    def series(self) -> int:
        return super().series * (len(self.buckets) + 3)

    def observe(self, value: float, *values: str, count: int = 1) -> None:
        """Record ``count`` observations of this value."""
        self._child(values).add(bisect_left(self.buckets, value), count, value * count)

    def observe_all(self, observed: Sequence[float], *values: str) -> None:
        """Record these observations: one look-up for all, and one addition for each bucket that gets any."""
        found: dict[int, list[float]] = {}
        for value in observed:
            found.setdefault(bisect_left(self.buckets, value), []).append(value)
        child = self._child(values)
        for place, some in found.items():
            child.add(place, len(some), sum(some))

    def exemplify(self, value: float, trace_id: str, *values: str) -> None:
        """Name the trace of an observation of this value, which is recorded already: the latest of a bucket is shown (OpenMetrics)."""
        self._child(values).exemplify(bisect_left(self.buckets, value), value, trace_id)

    def _made(self) -> Any:
        return _Counts(self.name, self.help, self.labels, buckets=self.buckets, registry=REGISTRY)
