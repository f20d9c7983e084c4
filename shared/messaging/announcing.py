"""What processes say of themselves on ``changes``, once a second: that they are well, or what keeps them from making progress.

    Process ──Announcer──▶ [changes] process.<name> ──▶ Processes (of the query service and of the ingress): who is not well, or silent

Nobody waits for it and nobody relies on it to be well: who says nothing for some seconds, and has been heard before, is not. A process
that stops gracefully says goodbye. One that falls silent without a goodbye is reported even while others of its name are heard: it may be
the one that the queue's messages go to, frozen, while the others stand by.
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

QUEUES_MADE_OTHERWISE: Final = "queues"
"""The component of a process that tells of queues with other arguments than they should have: all goes on, for now."""
SILENT_AFTER_S: Final = 6.0
TAKEN_OVER_S: Final = 3.0 * HEARTBEAT_S
"""After so long a silence another process of that name does its work: a connection's heartbeat is 10 s at most, the broker closes the
connection of a frozen process after two missed ones, that is within three, and then delivers to the next consumer."""
GOODBYE_WITHIN_S: Final = 1.0


class Announcer:
    """Says how this process is; what the broker does not take is dropped."""

    def __init__(self, process: str, publisher: Publisher) -> None:
        self._process = process
        self._publisher = publisher
        self._instance = uuid4().hex
        self._telling: asyncio.Task[None] | None = None

    def tell(self, troubles: Mapping[str, str]) -> None:
        """Returns at once; while the one before is under way there is nothing more to say."""
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._publish(dict(troubles)))

    async def leave(self) -> None:
        """Say goodbye, after everything else; given up after GOODBYE_WITHIN_S. A process that never announced itself has nothing to end."""
        if self._telling is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_WITHIN_S):
                await asyncio.wait({self._telling})
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
        # Listeners that are older than ``leaving`` take no announcement that has it.
        unsaid: dict[str, set[str]] = {} if leaving else {"data": {"leaving"}}
        try:
            await self._publisher.publish(
                Outgoing(
                    topology.CHANGES,
                    topology.process_key(self._process),
                    envelope.model_dump_json(exclude=unsaid).encode(),
                    CONTENT_TYPE,
                    type=PROCESS_STATE,
                    mandatory=False,
                    durable=False,
                )
            )
        except BrokerError as error:
            log.debug("%s could not say how it is: %s", self._process, reason(error))


@dataclass(slots=True)
class _Heard:
    state: ProcessState
    since: float
    at: float
    """First, and last."""


class Processes:
    """What other processes have said of themselves."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[str, _Heard] = {}
        """By instance."""
        self._listening = True
        self._changed = clock()
        """When listening began, or ended."""
        self.deaf: Callable[[], str | None] = lambda: None
        """Why nobody can be heard, where that is known."""

    def listening(self, listening: bool) -> None:
        """Whether announcements come in from now on; while they do not, nobody's silence means anything."""
        self._listening = listening
        self._changed = self._clock()

    def hear(self, body: bytes) -> None:
        try:
            state = ProcessAnnounced.model_validate_json(body).data
        except ValidationError as error:
            log.warning("an unreadable announcement was dropped: %s", reason(error))
            return
        now = self._clock()
        known = self._heard.get(state.instance)
        self._heard[state.instance] = _Heard(state, known.since if known else now, now)

    def trouble(self, *processes: str, but: str = "") -> str | None:
        """What is wrong with these, or with any; ``but``: a component that does not count. Who was never heard is not judged."""
        names = processes or sorted({each.state.process for each in self._heard.values()})
        return "; ".join(words for process in names for words in self._troubles_of(process, but)) or None

    def all(self) -> Sequence[tuple[str, float, Mapping[str, str]]]:
        """Every process that was heard lately: name, seconds since it was heard, and what it says is wrong."""
        now = self._clock()
        return [
            (each.state.process, now - each.at, each.state.troubles)
            for each in sorted(self._known(), key=lambda each: (each.state.process, -each.at))
        ]

    def _known(self) -> Collection[_Heard]:
        """All but those that said goodbye, or whose work another one does by now; the last one heard of each name stays."""
        last = {each.state.process: each for each in sorted(self._heard.values(), key=lambda each: each.at)}
        for instance, each in list(self._heard.items()):
            gone = each.state.leaving or (self._listening and self._silence(each) > TAKEN_OVER_S)
            if gone and last[each.state.process] is not each:
                del self._heard[instance]
        return self._heard.values()

    def _silence(self, heard: _Heard) -> float:
        """For how long it has said nothing, as far as that means anything."""
        return self._clock() - max(heard.at, self._changed)

    def _troubles_of(self, process: str, but: str) -> Sequence[str]:
        ours = [each for each in self._known() if each.state.process == process]
        loud = [each for each in ours if self._silence(each) <= SILENT_AFTER_S]
        said = [f"{process}: {words}" for each in loud for name, words in each.state.troubles.items() if name != but]
        missing = _missing(ours, [each for each in ours if each not in loud]) if self._listening else []
        if not loud:
            missing = missing[:1]
        who = f"one of {len(loud) + len(missing)} processes" if loud else "it"
        why = self.deaf() or "is it running?"
        return [f"{process}: {who} has said nothing for {self._silence(each):.0f} s: {why}" for each in missing] + said


def _missing(ours: Sequence[_Heard], silent: Sequence[_Heard]) -> Sequence[_Heard]:
    """Those of ``silent`` that were not replaced, the last heard first. Whoever was first heard after another's last word replaces it, and
    no second one."""
    came = sorted(each.since for each in ours)
    missing = []
    for each in sorted(silent, key=lambda each: each.at, reverse=True):
        if came and came[-1] > each.at:
            came.pop()
        else:
            missing.append(each)
    return missing
