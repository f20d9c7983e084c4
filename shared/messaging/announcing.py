"""What processes say of themselves on ``changes``, once a second: that they are well, or what keeps them from making progress.

    Process ──Announcer──▶ [changes] process.<name> ──▶ Processes (of the query service and of the ingress): who is not well, or silent

Nobody waits for it and nobody relies on it to be well: who says nothing for some seconds, and has been heard before, is not.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from pydantic import ValidationError

from shared.messages.changes import PROCESS_STATE, ProcessAnnounced, ProcessState
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from shared.runtime.reasons import reason

log: Final = logging.getLogger(__name__)

QUEUES_MADE_OTHERWISE: Final = "queues"
"""The component of a process that tells of queues with other arguments than they should have: all goes on, for now."""
SILENT_AFTER_S: Final = 6.0
FORGOTTEN_AFTER_S: Final = 60.0


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

    async def _publish(self, troubles: Mapping[str, str]) -> None:
        state = ProcessState(process=self._process, instance=self._instance, troubles=troubles)
        envelope = ProcessAnnounced(
            id=f"process/{uuid4()}",
            source=f"tidemark/{self._process}",
            type=PROCESS_STATE,
            time=datetime.now(UTC),
            data=state,
        )
        try:
            await self._publisher.publish(
                Outgoing(
                    topology.CHANGES,
                    topology.process_key(self._process),
                    envelope.model_dump_json().encode(),
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
    at: float


class Processes:
    """What other processes have said of themselves."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[str, _Heard] = {}
        """By instance."""
        self._listening = True
        self.deaf: Callable[[], str | None] = lambda: None
        """Why nobody can be heard, where that is known."""

    def listening(self, listening: bool) -> None:
        """Whether announcements come in from now on; while they do not, nobody's silence means anything."""
        self._listening = listening
        for heard in self._heard.values():
            heard.at = self._clock()

    def hear(self, body: bytes) -> None:
        try:
            state = ProcessAnnounced.model_validate_json(body).data
        except ValidationError as error:
            log.warning("an unreadable announcement was dropped: %s", reason(error))
            return
        self._heard[state.instance] = _Heard(state, self._clock())

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

    def _known(self) -> Sequence[_Heard]:
        """Of several instances those that were heard lately; of one that fell silent the last."""
        now = self._clock()
        last = {each.state.process: each for each in sorted(self._heard.values(), key=lambda each: each.at)}
        for instance, each in list(self._heard.items()):
            if now - each.at > FORGOTTEN_AFTER_S and last[each.state.process] is not each:
                del self._heard[instance]
        return list(self._heard.values())

    def _troubles_of(self, process: str, but: str) -> Sequence[str]:
        now = self._clock()
        ours = [each for each in self._known() if each.state.process == process]
        loud = [each for each in ours if now - each.at <= SILENT_AFTER_S]
        if ours and not loud:
            if not self._listening:
                return []
            silence = now - max(each.at for each in ours)
            return [f"{process}: it has said nothing for {silence:.0f} s: {self.deaf() or 'is it running?'}"]
        return [f"{process}: {words}" for each in loud for name, words in each.state.troubles.items() if name != but]
