"""Outcomes for those who wait: a reply wakes them, the database tells them. A lost reply costs time, never the outcome."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from command_service.event_store import OUTCOME
from shared import topology
from shared.announcing import Processes
from shared.contracts.changes import PROCESS_STATE
from shared.contracts.envelope import EnvelopeError, split
from shared.postgres import Database, is_outage
from shared.problems import Problem
from shared.progress import Progress
from shared.replies import Replies

ANSWER_WITHIN_S: Final = 3.0
LOOK_AGAIN_S: Final = 1.0
"""How often somebody who waits looks by himself, in case the reply went astray."""


@dataclass(frozen=True, slots=True)
class Decided:
    """``body`` is the outcome's envelope; ``digest`` is that of the command it was given to."""

    body: bytes
    digest: bytes


class Outcomes:
    def __init__(self, write_db_url: str, rabbitmq_url: str) -> None:
        self._database = Database(write_db_url, read_only=True, max_size=4)
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._progress = Progress(stalled_after_s=ANSWER_WITHIN_S)
        self._reached = False
        self.processes = Processes()
        """How the worker says it is: whether there will be outcomes."""
        bindings = [(topology.CHANGES, topology.process_key("worker"))]
        self.replies = Replies(
            rabbitmq_url, self._received, "http", bindings=bindings, changed=self.processes.listening
        )
        self.processes.deaf = lambda: self.replies.trouble

    @property
    def reply_to(self) -> str | None:
        return self.replies.queue or None

    @property
    def trouble(self) -> str | None:
        """What keeps outcomes from being read."""
        return self._progress.trouble or (None if self._reached else "the write database has not been reached yet")

    async def run(self) -> None:
        """Receive replies until cancelled."""
        await self.replies.run()

    async def watch(self) -> None:
        """See, once a second until cancelled, whether outcomes can be read."""
        while True:
            with self._progress.step("the write database") as step:
                while True:
                    try:
                        await self.read("")
                        break
                    except Problem as problem:
                        step.failed(problem.__cause__)
                        await asyncio.sleep(LOOK_AGAIN_S)
            self._reached = True
            await asyncio.sleep(LOOK_AGAIN_S)

    async def close(self) -> None:
        await self._database.close()

    async def read(self, command_id: str) -> Decided | None:
        """The outcome, the same bytes every time; None: there is none. Raises Problem while the database is away."""
        if "\x00" in command_id:
            return None
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                pool = await self._database.pool()
                row = await pool.fetchrow(OUTCOME, command_id)
        except Exception as error:
            if not is_outage(error):
                raise
            detail = "outcomes cannot be read at the moment; what was sent is not lost"
            raise Problem(detail, status=503, code="store-unavailable", headers={"Retry-After": "1"}) from error
        return None if row is None else Decided(row["outcome"].encode(), row["body_hash"])

    @contextmanager
    def awaiting(self, command_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when a reply about this command comes."""
        decided = asyncio.Event()
        self._waiting.setdefault(command_id, set()).add(decided)
        try:
            yield decided
        finally:
            waiting = self._waiting[command_id]
            waiting.discard(decided)
            if not waiting:
                del self._waiting[command_id]

    async def wait(self, command_id: str, decided: asyncio.Event, seconds: float) -> Decided | None:
        """The outcome, as soon as there is one; None when the time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            left = deadline - loop.time()
            try:
                async with asyncio.timeout(max(0.0, min(left, LOOK_AGAIN_S))):
                    await decided.wait()
            except TimeoutError:
                pass
            outcome = await self.read(command_id)
            if outcome is not None or left <= LOOK_AGAIN_S:
                return outcome

    def _received(self, body: bytes, correlation_id: str) -> None:
        try:
            elements = split(body)
        except EnvelopeError:
            return  # whoever waits looks by himself
        for element in elements:
            if isinstance(element, dict) and element.get("type") == PROCESS_STATE:
                self.processes.hear(body)
                continue
            data = element.get("data") if isinstance(element, dict) else None
            command_id = data.get("command_id") if isinstance(data, dict) else correlation_id
            for decided in self._waiting.get(str(command_id), ()):
                decided.set()
