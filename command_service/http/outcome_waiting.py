"""Waiting for outcomes: a reply triggers reading the outcome from the database. A lost reply costs time, never the outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from command_service.handling.decision import REUSED
from command_service.handling.event_store import OUTCOME, SOURCES
from command_service.handling.parsing import CommandKey
from command_service.handling.pending import PendingCommand, pending_of
from command_service.http.responses import available_within
from command_service.privacy.personal_data import is_keyed
from command_service.scheduling import scheduled_commands
from command_service.scheduling.scheduled_commands import ScheduledCommand
from shared.http.problems import Problem
from shared.messages.changes import PROCESS_STATE
from shared.messages.envelope import EnvelopeError, split
from shared.messaging import topology
from shared.messaging.announcing import Processes
from shared.messaging.replies import Replies
from shared.runtime.postgres import Connection, Database
from shared.runtime.stalls import StallDetector

READ_DEADLINE_S: Final = 3.0
POLL_S: Final = 1.0
"""How often a waiting request reads the database without a reply, in case it was lost."""


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """``body``: the outcome's envelope; ``digest``: that of its command; ``source``: its sender, empty where that was not stored yet."""

    body: bytes
    digest: bytes
    source: str


@dataclass(eq=False, slots=True)
class Awaited:
    """A reply that a request waits for. ``digest``: of the request's command."""

    source: str
    digest: bytes
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    is_reused: bool = False
    """Whether the worker has refused the command, as its id was used before."""


CommandStatus = StoredOutcome | PendingCommand

T = TypeVar("T")


class OutcomeReader:
    def __init__(self, write_db_url: str, rabbitmq_url: str) -> None:
        self._database = Database(write_db_url, read_only=True, max_size=4)
        self._waiting: dict[str, set[Awaited]] = {}
        self._progress = StallDetector(stalled_after_s=READ_DEADLINE_S)
        self._reached = False
        self.processes = Processes()
        """The worker's announced state: whether there will be outcomes."""
        bindings = [(topology.CHANGES, topology.process_key("worker"))]
        self.replies = Replies(
            rabbitmq_url, self._on_reply, "http", bindings=bindings, changed=self.processes.listening
        )
        self.processes.listening_trouble = lambda: self.replies.trouble

    @property
    def reply_to(self) -> str | None:
        return self.replies.queue or None

    @property
    def trouble(self) -> str | None:
        """Why outcomes cannot be read."""
        return self._progress.trouble or (None if self._reached else "the write database has not been reached yet")

    async def run(self) -> None:
        """Receive replies until cancelled."""
        await self.replies.run()

    async def watch(self) -> None:
        """Check once a second, until cancelled, whether outcomes can be read."""
        while True:
            with self._progress.step("the write database") as step:
                while True:
                    try:
                        await self.read(("", ""))
                        break
                    except Problem as problem:
                        step.failed(problem.__cause__)
                        await asyncio.sleep(POLL_S)
            self._reached = True
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        await self._database.close()

    async def read(self, key: CommandKey) -> CommandStatus | None:
        """The outcome, the same bytes every time, or why there is none; None: nothing is known. Raises Problem while the database is
        unavailable."""

        async def step(connection: Connection) -> CommandStatus | None:
            source, command_id = key
            row = await connection.fetchrow(OUTCOME, command_id, source)
            if row is not None:
                return StoredOutcome(row["outcome"].encode(), row["body_hash"], row["source"])
            return await pending_of(connection, key)

        return await self._query(step) if "\x00" not in "".join(key) else None

    async def scheduled(self, key: CommandKey) -> ScheduledCommand | None:
        """The command, if it waits for its time. Raises Problem while the database is unavailable."""
        if "\x00" in "".join(key):
            return None
        return await self._query(lambda connection: scheduled_commands.scheduled(connection, key))

    async def scheduled_page(
        self, after: tuple[datetime, int], limit: int, *, source: str | None, command_type: str | None
    ) -> list[ScheduledCommand]:
        """Those after this one, by due time and id. Raises Problem while the database is unavailable."""
        return await self._query(
            lambda connection: scheduled_commands.page(
                connection, after, limit, source=source, command_type=command_type
            )
        )

    async def sources(self, command_id: str) -> list[str]:
        """Up to two sources of known commands with this id. Raises Problem while the database is unavailable."""

        async def step(connection: Connection) -> list[str]:
            return [row["source"] for row in await connection.fetch(SOURCES, command_id)]

        return await self._query(step) if "\x00" not in command_id else []

    async def _query(self, step: Callable[[Connection], Awaitable[T]]) -> T:
        detail = "outcomes cannot be read at the moment; what was sent is not lost"
        async with available_within(READ_DEADLINE_S, detail):
            return await self._database.read(step)

    @contextmanager
    def awaiting(self, key: CommandKey, digest: bytes) -> Iterator[Awaited]:
        """The reply to the command with this key. Raises Problem while a reply to another one with the same key is awaited."""
        source, command_id = key
        waiting = self._waiting.setdefault(command_id, set())
        if any(each.source == source and each.digest != digest for each in waiting):
            raise reused()
        awaited = Awaited(source, digest)
        waiting.add(awaited)
        try:
            yield awaited
        finally:
            waiting.discard(awaited)
            if not waiting:
                del self._waiting[command_id]

    async def wait(self, key: CommandKey, awaited: Awaited, seconds: float) -> CommandStatus | None:
        """The outcome, or why there is none, as soon as it is known; otherwise what is known after ``seconds``.

        Where only the worker can compare it with the command, once the worker has replied. Raises Problem if it is another command's.
        """
        answered = awaited.answered
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            left = deadline - loop.time()
            try:
                async with asyncio.timeout(max(0.0, min(left, POLL_S))):
                    await answered.wait()
            except TimeoutError:
                pass
            known = await self.read(key)
            require_same_command(known, awaited.digest)
            if awaited.is_reused:
                raise reused()
            is_final = isinstance(known, StoredOutcome) and not is_keyed(known.digest)
            if is_final or (known and answered.is_set()) or left <= POLL_S:
                return known
            answered.clear()

    def _on_reply(self, body: bytes, correlation_id: str) -> None:
        try:
            elements = split(body)
        except EnvelopeError:
            return  # waiting requests read the database anyway
        for element in elements:
            if isinstance(element, dict) and element.get("type") == PROCESS_STATE:
                self.processes.handle_announcement(body)
                continue
            data = element.get("data") if isinstance(element, dict) else None
            command_id = data.get("command_id") if isinstance(data, dict) else correlation_id
            for awaited in self._waiting.get(str(command_id), ()):
                if isinstance(data, dict) and data.get("code") == REUSED and element["commandsource"] == awaited.source:
                    awaited.is_reused = True
                awaited.answered.set()


def require_same_command(known: CommandStatus | None, digest: bytes) -> None:
    """Raises Problem if the id was used for a command with another body. What is kept under a key only the worker can compare."""
    kept = None if known is None else known.digest
    if kept is not None and not is_keyed(kept) and kept != digest:
        raise reused()


def reused() -> Problem:
    detail = "this id was used before, for a command with another body"
    return Problem(detail, status=422, code=REUSED)
