"""Measures a projection: what a commit did, counted once for the commit, how far each lane is, once a second, and the lag of live events;
and records the spans of a commit's events whose traces are recorded.

The lag is measured by heartbeats, independent of the offset between the two clocks: a heartbeat contains a time of the write database's
clock. Its delay is that time's age by the local clock, which includes the clocks' offset; the least delay of the last WINDOW heartbeats
counts as no lag.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from projectors.generations.roles import Role
from projectors.runtime.decoding import ArrivedEvent
from projectors.stores.port import Commit, Event, HoldStatus
from shared.messaging import topology
from shared.observability import metrics, tracing
from shared.observability import trace_names as names
from shared.observability.spans import Recorder, SpanKind
from shared.observability.tracing import is_sampled
from shared.views.progress import SEEN_SINCE

WINDOW: Final = 240
"""Heartbeats: one a second for each lane."""
SILENT_S: Final = 3.0
"""Without a heartbeat for this long the lag is unknown and counts as none: no live events arrive either, so none are worth waiting for."""


@dataclass(slots=True)
class LagMeter:
    _delays: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _received_at: float = float("-inf")

    def note(self, as_of: datetime, now: datetime, monotonic: float) -> None:
        """Record a heartbeat that has been applied."""
        self._delays.append((now - as_of).total_seconds())
        self._received_at = monotonic

    def seconds(self, monotonic: float) -> float:
        if not self._delays or monotonic - self._received_at > SILENT_S:
            return 0.0
        return self._delays[-1] - min(self._delays)


def count_commit(projector: str, role: Role, commit: Commit, now: datetime) -> None:
    """Only what is read counts as applied; what is built, as rebuilt."""
    for hold in commit.holds.values():
        if hold.status is HoldStatus.GAP:
            metrics.GAPS.add(1, projector)
        else:
            metrics.FAILURES.add(1, projector, hold.status.value)
    if role is Role.FOLLOWING:
        return
    if role is Role.BUILDING:
        metrics.REBUILT.add(sum(len(each.events) for each in commit.advances), projector)
        return
    ages = [(now - event.time).total_seconds() for each in commit.advances for event in each.events]
    if ages:
        metrics.APPLIED.add(len(ages), projector)
        metrics.VISIBLE_SECONDS.observe_all(ages, projector)


def show_lanes(projector: str, as_of: Mapping[int, datetime], now: datetime) -> None:
    for lane, time in as_of.items():
        if time < SEEN_SINCE:
            continue
        metrics.LAG.set((now - time).total_seconds(), projector, str(lane))


def record_spans(
    recorder: Recorder,
    projector: str,
    commit: Commit,
    failed: Mapping[str, ArrivedEvent],
    began_ns: int,
    now: datetime,
) -> None:
    """A span for each event that was applied or failed, and one for the batch. ``failed``: by stream, those that ``commit`` holds."""
    events = [event for each in commit.advances for event in each.events]
    sampled = [event for event in events if event.traceparent is not None and is_sampled(event.traceparent)]
    name = f"{names.PROCESS} {projector}"
    for event in sampled:
        seconds = (now - event.time).total_seconds()
        seen = {names.VISIBLE_SECONDS: seconds}
        if (trace_id := tracing.trace_id(event.traceparent)) is not None:
            metrics.VISIBLE_SECONDS.exemplify(seconds, trace_id, projector)
        recorder.record(
            name, SpanKind.CONSUMER, _attributes(projector, event) | seen, parent=event.traceparent, at_ns=began_ns
        )
    for stream, item in failed.items():
        event, hold = item.event, commit.holds[stream]
        if is_sampled(event.traceparent):
            held = {names.HELD: hold.status.value, names.ATTEMPTS: hold.attempts}
            attributes = _attributes(projector, event) | held
            recorder.record(
                name, SpanKind.CONSUMER, attributes, parent=event.traceparent, at_ns=began_ns, error=hold.reason
            )
    if sampled and len(events) > 1:
        batch: dict[str, str | int] = {**names.PROCESSING, names.PROJECTION: projector, names.BATCH_COUNT: len(events)}
        links = [event.traceparent for event in sampled if event.traceparent is not None]
        recorder.record(f"{names.PROCESS} batch", SpanKind.CONSUMER, batch, links=links, at_ns=began_ns)


def _attributes(projector: str, event: Event) -> dict[str, str | int | float]:
    return {
        **names.PROCESSING,
        names.DESTINATION: topology.lane_queue(projector, event.lane),
        names.MESSAGE_ID: event.id,
        names.PROJECTION: projector,
        names.EVENT_TYPE: event.type,
        names.STREAM: event.stream,
        names.VERSION: event.version,
    }
