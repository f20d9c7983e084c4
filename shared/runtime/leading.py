"""One leader at a time for a table that is emptied in order: an outbox. Others stand by, and take over when its session ends.

    connect ──▶ lead (session advisory lock), or stand by ──▶ begin ──▶ round, round, round … ──▶ wait for NOTIFY, or POLL_EVERY_S
       ▲                                                        └── the database is unavailable: jittered back-off ──┐
       └──────────────────────────────────────────────────────────────────────────────────────────────────────────┘

The lock does not fence off a leader that was paused: what it does after its successor has begun must be harmless to repeat.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import asyncpg
from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

from shared.runtime.postgres import COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S, LOCK_TIMEOUT, connect, is_outage
from shared.runtime.reasons import reason
from shared.runtime.stalls import StallDetector

POLL_EVERY_S: Final = 1.0
STAND_BY_S: Final = 0.5
IDLE_SESSION_TIMEOUT: Final = "20s"
"""The session of a leader that sends no statement for this long is closed: it is frozen, and another may lead."""

LEAD: Final = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"

Work = Callable[[asyncpg.Connection], Awaitable[None]]


class Leader:
    """Leads, or stands by to lead. ``what``: what the lock is for, in reports; ``store``: the database, in reports."""

    def __init__(self, url: str, *, lock: str, channel: str, what: str, store: str, schema: str = "public") -> None:
        self._url = url
        self._lock = lock
        self._channel = channel
        self._what = what
        self._store = store
        self._schema = schema
        self._woken = asyncio.Event()
        self.progress = StallDetector()
        self.leads = False
        self.problem: str | None = "not started"
        """What the work reports about itself; None: no problem."""

    @property
    def trouble(self) -> str | None:
        """What keeps the work from being done; None while there is no problem, and while standing by."""
        return self.problem or self.progress.trouble

    async def run(self, stopping: asyncio.Event, *, begin: Work, work: Work) -> None:
        """Until stopped: ``begin`` once for each leadership, then ``work`` again and again. Retries during an outage of the database.

        One connection holds the lock, listens, and does the work, so that losing it ends all three.
        """
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(self._is_outage), wait=wait_random_exponential(multiplier=0.1, max=3)
        ):
            with attempt:
                await self._session(stopping, begin, work)

    def about_to_read(self) -> None:
        """A notification that arrives from now on ends the next ``notified`` at once."""
        self._woken.clear()

    async def notified(self) -> None:
        """Return at the next notification, or after POLL_EVERY_S."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_EVERY_S):
                await self._woken.wait()

    async def _session(self, stopping: asyncio.Event, begin: Work, work: Work) -> None:
        connection = await connect(
            self._url,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings={
                "application_name": self._what,
                "idle_session_timeout": IDLE_SESSION_TIMEOUT,
                "lock_timeout": LOCK_TIMEOUT,
                "search_path": f"{self._schema}, public",
            },
        )
        try:
            if not await self._lead(connection, stopping):
                return
            self.leads = True
            await begin(connection)
            await connection.add_listener(self._channel, self._on_notify)
            while not stopping.is_set():
                await work(connection)
        finally:
            self.leads = False
            connection.terminate()

    async def _lead(self, connection: asyncpg.Connection, stopping: asyncio.Event) -> bool:
        while not stopping.is_set():
            with self.progress.step(f"acquiring the lock of {self._what} in {self._store}"):
                leads = await connection.fetchval(LEAD, self._lock)
            if leads:
                return True
            self.problem = None
            with suppress(TimeoutError):
                async with asyncio.timeout(STAND_BY_S):
                    await stopping.wait()
        return False

    def _is_outage(self, error: BaseException) -> bool:
        if not is_outage(error):
            return False
        self.problem = f"{self._store} is unavailable: {reason(error)}"
        return True

    def _on_notify(self, *_: Any) -> None:
        self._woken.set()
