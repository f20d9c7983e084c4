"""Outcomes for those who wait: a reply wakes them, the database tells them. A lost reply costs time, never the outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from command_service.handling.event_store import OUTCOME, SOURCES
from command_service.handling.parsing import CommandKey
from command_service.handling.pending import PendingCommand, pending_of
from shared.http.problems import Problem
from shared.messages.changes import PROCESS_STATE
from shared.messages.envelope import EnvelopeError, split
from shared.messaging import topology
from shared.messaging.announcing import Processes
from shared.messaging.replies import Replies
from shared.runtime.postgres import Connection, Database, is_outage
from shared.runtime.stalls import StallDetector

ANSWER_WITHIN_S: Final = 3.0
LOOK_AGAIN_S: Final = 1.0
"""How often somebody who waits looks by himself, in case the reply went astray."""


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """``body`` is the outcome's envelope; ``digest`` is that of the command it was given to."""

    body: bytes
    digest: bytes


Known = StoredOutcome | PendingCommand

T = TypeVar("T")


class OutcomeReader:
    def __init__(self, write_db_url: str, rabbitmq_url: str) -> None:
        self._database = Database(write_db_url, read_only=True, max_size=4)
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._progress = StallDetector(stalled_after_s=ANSWER_WITHIN_S)
        self._reached = False
        self.processes = Processes()
        """How the worker says it is: whether there will be outcomes."""
        bindings = [(topology.CHANGES, topology.process_key("worker"))]
        self.replies = Replies(
            rabbitmq_url, self._received, "http", bindings=bindings, changed=self.processes.listening
        )
        self.processes.listening_trouble = lambda: self.replies.trouble

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
                        await self.read(("", ""))
                        break
                    except Problem as problem:
                        step.failed(problem.__cause__)
                        await asyncio.sleep(LOOK_AGAIN_S)
            self._reached = True
            await asyncio.sleep(LOOK_AGAIN_S)

    async def close(self) -> None:
        await self._database.close()

    async def read(self, key: CommandKey) -> Known | None:
        """The outcome, the same bytes every time, or why there is none; None: nothing is known. Raises Problem while the database is
        away."""

        async def step(connection: Connection) -> Known | None:
            source, command_id = key
            row = await connection.fetchrow(OUTCOME, command_id, source)
            if row is not None:
                return StoredOutcome(row["outcome"].encode(), row["body_hash"])
            return await pending_of(connection, key)

        return await self._ask(step) if "\x00" not in "".join(key) else None

    async def sources(self, command_id: str) -> list[str]:
        """Two at most of the sources of which a command with this id is known. Raises Problem while the database is away."""

        async def step(connection: Connection) -> list[str]:
            return [row["source"] for row in await connection.fetch(SOURCES, command_id)]

        return await self._ask(step) if "\x00" not in command_id else []

    async def _ask(self, step: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                pool = await self._database.pool()
                async with pool.acquire() as connection:
                    return await step(connection)
        except Exception as error:
            if not is_outage(error):
                raise
            detail = "outcomes cannot be read at the moment; what was sent is not lost"
            raise Problem(detail, status=503, code="store-unavailable", headers={"Retry-After": "1"}) from error

    @contextmanager
    def awaiting(self, command_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when a reply about a command with this id comes."""
        answered = asyncio.Event()
        self._waiting.setdefault(command_id, set()).add(answered)
        try:
            yield answered
        finally:
            waiting = self._waiting[command_id]
            waiting.discard(answered)
            if not waiting:
                del self._waiting[command_id]

    async def wait(self, key: CommandKey, answered: asyncio.Event, seconds: float) -> Known | None:
        """The outcome, as soon as there is one, or why there is none, as soon as a reply says so; what is known when the time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            left = deadline - loop.time()
            try:
                async with asyncio.timeout(max(0.0, min(left, LOOK_AGAIN_S))):
                    await answered.wait()
            except TimeoutError:
                pass
            known = await self.read(key)
            if isinstance(known, StoredOutcome) or (known and answered.is_set()) or left <= LOOK_AGAIN_S:
                return known
            answered.clear()

    def _received(self, body: bytes, correlation_id: str) -> None:
        try:
            elements = split(body)
        except EnvelopeError:
            return  # whoever waits looks by himself
        for element in elements:
            if isinstance(element, dict) and element.get("type") == PROCESS_STATE:
                self.processes.handle_announcement(body)
                continue
            data = element.get("data") if isinstance(element, dict) else None
            command_id = data.get("command_id") if isinstance(data, dict) else correlation_id
            for answered in self._waiting.get(str(command_id), ()):
                answered.set()
