"""Processes publish their state on ``changes`` once a second: healthy, or what keeps them from making progress.

    Process ──Announcer──▶ [changes] process.<name> ──▶ Processes (in the query service and the ingress): which are unhealthy or silent

No process waits for an announcement or needs one to work. A process that has announced itself and is then silent for some seconds counts
as unhealthy. A process that stops gracefully announces its departure. One that becomes silent without it is reported even while others
of the same name announce themselves: it may be the active consumer of the queue, frozen, while the others stand by.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from pydantic import ValidationError

from shared.messages.changes import PROCESS_STATE, ProcessAnnounced, ProcessState
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import HEARTBEAT_S, BrokerError, Outgoing, Publisher
from shared.runtime.reasons import reason

log: Final = logging.getLogger(__name__)

QUEUE_ARGUMENTS: Final = "queues"
"""The component that reports queues with wrong arguments: everything still works, for now."""
INCOMPLETE: Final = "kinds"
"""The component that reports kinds of stream which a projection's active generation does not have yet: all others are applied."""
SILENT_AFTER_S: Final = 6.0
TAKEOVER_S: Final = 3.0 * HEARTBEAT_S
"""After this silence another process of the same name has taken over: a connection's heartbeat is at most 10 s, the broker closes the
connection of a frozen process after two missed heartbeats, that is within three, and then delivers to the next consumer."""
DEPARTURE_DEADLINE_S: Final = 1.0


class Announcer:
    """Publishes this process's state; what the broker does not accept is dropped."""

    def __init__(self, process: str, publisher: Publisher) -> None:
        self._process = process
        self._publisher = publisher
        self._instance = uuid4().hex
        self._publishing: asyncio.Task[None] | None = None

    def announce(self, troubles: Mapping[str, str]) -> None:
        """Publish the current problems. Returns at once; skipped while the previous announcement is still being published."""
        if self._publishing is None or self._publishing.done():
            self._publishing = asyncio.create_task(self._publish(dict(troubles)))

    async def leave(self) -> None:
        """Announce the departure, after all else; given up after DEPARTURE_DEADLINE_S. Nothing if the process never announced itself."""
        if self._publishing is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(DEPARTURE_DEADLINE_S):
                await asyncio.wait({self._publishing})
                await self._publish({}, leaving=True)

    async def _publish(self, troubles: Mapping[str, str], *, leaving: bool = False) -> None:
        state = ProcessState(process=self._process, instance=self._instance, troubles=troubles, leaving=leaving)
        envelope = ProcessAnnounced(
            id=f"process/{uuid4()}",
            source=f"tidemark/{self._process}",
            type=PROCESS_STATE,
            time=datetime.now(UTC),
            data=state,
        )
        # Older listeners reject announcements with ``leaving``.
        excluded: dict[str, set[str]] = {} if leaving else {"data": {"leaving"}}
        try:
            await self._publisher.publish(
                Outgoing(
                    topology.CHANGES,
                    topology.process_key(self._process),
                    envelope.model_dump_json(exclude=excluded).encode(),
                    CONTENT_TYPE,
                    type=PROCESS_STATE,
                    mandatory=False,
                    durable=False,
                )
            )
        except BrokerError as error:
            log.debug("%s could not announce its state: %s", self._process, reason(error))


@dataclass(slots=True)
class _Report:
    state: ProcessState
    since: float
    at: float
    """Times of the first and the last announcement."""


class Processes:
    """The states that other processes have announced."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reports: dict[str, _Report] = {}
        """By instance."""
        self._listening = True
        self._changed = clock()
        """When listening began or ended."""
        self.listening_trouble: Callable[[], str | None] = lambda: None
        """Why no announcements can be received, where known."""

    def listening(self, listening: bool) -> None:
        """Record whether announcements are being received; while they are not, silence means nothing."""
        self._listening = listening
        self._changed = self._clock()

    def handle_announcement(self, body: bytes) -> None:
        try:
            state = ProcessAnnounced.model_validate_json(body).data
        except ValidationError as error:
            log.warning("an unreadable announcement was dropped: %s", reason(error))
            return
        now = self._clock()
        known = self._reports.get(state.instance)
        self._reports[state.instance] = _Report(state, known.since if known else now, now)

    def trouble(self, *processes: str, ignoring: Collection[str] = ()) -> str | None:
        """The problems of these processes, or of all; except in the components ``ignoring``. None for one that never announced itself."""
        names = processes or sorted({each.state.process for each in self._reports.values()})
        return "; ".join(words for process in names for words in self._troubles_of(process, ignoring)) or None

    def all(self) -> Sequence[tuple[str, float, Mapping[str, str]]]:
        """Every process with a recent announcement: name, seconds since then, and its problems."""
        now = self._clock()
        return [
            (each.state.process, now - each.at, each.state.troubles)
            for each in sorted(self._instances(), key=lambda each: (each.state.process, -each.at))
        ]

    def _instances(self) -> Collection[_Report]:
        """All instances except those that left or were replaced; the last one of each name is always kept."""
        last = {each.state.process: each for each in sorted(self._reports.values(), key=lambda each: each.at)}
        for instance, each in list(self._reports.items()):
            gone = each.state.leaving or (self._listening and self._silence(each) > TAKEOVER_S)
            if gone and last[each.state.process] is not each:
                del self._reports[instance]
        return self._reports.values()

    def _silence(self, report: _Report) -> float:
        """Seconds since its last announcement, counted only while listening."""
        return self._clock() - max(report.at, self._changed)

    def _troubles_of(self, process: str, ignoring: Collection[str]) -> Sequence[str]:
        instances = [each for each in self._instances() if each.state.process == process]
        reporting = [each for each in instances if self._silence(each) <= SILENT_AFTER_S]
        reported = [
            f"{process}: {words}"
            for each in reporting
            for name, words in each.state.troubles.items()
            if name not in ignoring
        ]
        missing = (
            _unreplaced(instances, [each for each in instances if each not in reporting]) if self._listening else []
        )
        if not reporting:
            missing = missing[:1]
        who = f"one of {len(reporting) + len(missing)} processes" if reporting else "it"
        why = self.listening_trouble() or "is it running?"
        return [
            f"{process}: {who} has said nothing for {self._silence(each):.0f} s: {why}" for each in missing
        ] + reported


def _unreplaced(instances: Sequence[_Report], silent: Sequence[_Report]) -> Sequence[_Report]:
    """The silent instances that were not replaced, the last heard first. An instance first heard after another's last announcement
    replaces that one, and only that one."""
    starts = sorted(each.since for each in instances)
    missing = []
    for each in sorted(silent, key=lambda each: each.at, reverse=True):
        if starts and starts[-1] > each.at:
            starts.pop()
        else:
            missing.append(each)
    return missing
