"""Outcomes for those who wait: a reply wakes them, the database tells them. A lost reply costs time, never the outcome."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from command_service.event_store import OUTCOME
from shared.contracts.envelope import EnvelopeError, split
from shared.postgres import Database, is_outage
from shared.problems import Problem
from shared.replies import Replies

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
        self._replies = Replies(rabbitmq_url, self._received, "http")

    @property
    def reply_to(self) -> str | None:
        return self._replies.queue or None

    async def run(self) -> None:
        """Receive replies until cancelled."""
        await self._replies.run()

    async def close(self) -> None:
        await self._database.close()

    async def read(self, command_id: str) -> Decided | None:
        """The outcome, the same bytes every time; None: there is none. Raises Problem while the database is away."""
        if "\x00" in command_id:
            return None
        try:
            pool = await self._database.pool()
            row = await pool.fetchrow(OUTCOME, command_id, timeout=5)
        except Exception as error:
            if not is_outage(error):
                raise
            detail = "outcomes cannot be read at the moment; what was sent is not lost"
            raise Problem(detail, status=503, code="store-unavailable", headers={"Retry-After": "1"}) from error
        return None if row is None else Decided(row["outcome"].encode(), row["body_hash"])

    async def trouble(self) -> str | None:
        try:
            await self.read("")
        except Problem:
            return "the write database cannot be reached"
        return None

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
            data = element.get("data") if isinstance(element, dict) else None
            command_id = data.get("command_id") if isinstance(data, dict) else correlation_id
            for decided in self._waiting.get(str(command_id), ()):
                decided.set()
