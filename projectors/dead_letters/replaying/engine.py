"""The replay engine: advances jobs within their rate and concurrency. All state is in tables, so it may be killed at any point.

    job_items ──taken, committed──▶ sent ──▶ resend requests, commands ──▶ … the normal path … ──▶ progress messages (``items``)
                                     └── no progress message: inquire, request another resend, finally give up

An item is marked as sent before it is published. So a crash leaves at worst a letter that is marked and not sent; the next engine
requests everything again that has no outcome. Duplicates are harmless for events (versions) and commands (ids). An advisory lock ensures
that only one engine is the leader.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from projectors.dead_letters.letters.marks import delete_sent, unsent
from projectors.dead_letters.outgoing import command, inquiries, resends
from projectors.dead_letters.replaying import store
from projectors.dead_letters.replaying.jobs import SENDING, advance
from projectors.dead_letters.replaying.rate_limiter import RateLimiter
from projectors.dead_letters.replaying.store import Job, TakenLetters
from projectors.dead_letters.sender import discards_due, mark_edited_sent, unsent_edited
from shared.messaging.broker import Publisher
from shared.runtime.failpoints import Failpoint, reached
from shared.runtime.outage import OutageRetry
from shared.runtime.postgres import Connection, Database
from shared.runtime.process import Stopped

log: Final = logging.getLogger(__name__)

MAX_BATCH: Final = 1000
IDLE_S: Final = 0.5
MIN_PAUSE_S: Final = 0.02
COALESCE_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the engine waits for the outcome of a letter. Times are in seconds."""

    inquire_every: float = 10.0
    """Interval of inquiries to the projection whether it has passed the event."""
    resend_every: int = 6
    """Number of inquiries after which the event is resent."""
    give_up_after: int = 18
    """Number of inquiries after which the letter becomes dead again and its item fails as ``no-answer``."""
    check_every: float = 15.0
    """Interval of inquiries about the next thousand live letters: progress messages may be lost, and events that the broker
    dead-lettered hold no stream."""
    settle_after: float = 3.0
    """A command that does not fail again within this time counts as handled; canaries and the completion of jobs wait for it."""


class ReplayEngine:
    def __init__(
        self,
        operations_db_url: str,
        schema: str,
        publisher: Publisher,
        outages: OutageRetry,
        *,
        timing: Timing | None = None,
    ) -> None:
        self._database = Database(operations_db_url, schema=schema, max_size=1)
        self._publisher = publisher
        self._timing = timing or Timing()
        self._rate_limiters: dict[int, RateLimiter] = {}
        self._changed = asyncio.Event()
        self._last_check = (time.monotonic(), 0)
        self._last_retry = float("-inf")
        self._outages = outages

    @property
    def trouble(self) -> str | None:
        return self._outages.stalls.trouble

    def wake(self) -> None:
        """The tables have changed: start the next round at once."""
        self._changed.set()

    async def run(self, stopping: asyncio.Event) -> None:
        try:
            while not stopping.is_set():
                await self._outages.until_up(self._run_as_leader, takes_long=True)
                await self._outages.pause(IDLE_S)
        except Stopped:
            return

    async def close(self) -> None:
        await self._database.close()

    async def _run_as_leader(self) -> None:
        """Run rounds while this engine is the leader; returns at once if another one is. Raises Stopped, and database errors."""
        pool = await self._database.pool()
        async with pool.acquire(timeout=10) as connection:
            if not await connection.fetchval(store.BECOME_LEADER):
                return
            await connection.execute(store.BY_KEY_ONLY)
            await connection.execute(store.RESTORE_TAKEN)
            await connection.execute(store.RETRY_ALL)
            await connection.execute(store.RETRY_DISCARDS)
            self._outages.stalls.recovered()
            while True:
                self._changed.clear()
                with self._outages.stalls.step("a round over replays and discards"):
                    pause = await self.step(connection)
                await self._wait(pause)

    async def step(self, connection: Connection) -> float:
        """One round over all work. Returns the seconds until the next round is due, unless ``wake`` is called before."""
        await self._send_pending(connection)
        await self._retry_overdue(connection)
        await self._check_live_letters(connection)
        pause = IDLE_S
        for job in await store.open_jobs(connection, self._timing.settle_after):
            transition = advance(job.progress)
            if transition is not None:
                log.info("replay job %d: %s %s", job.id, transition.to, transition.why)
                await store.apply_transition(connection, job, transition)
                pause = 0.0
            elif job.progress.state in SENDING:
                pause = min(pause, await self._send_batch(connection, job))
        return pause

    async def _send_batch(self, connection: Connection, job: Job) -> float:
        """Send the letters that the job's window and rate allow. Returns the seconds until more may be allowed."""
        capacity = _capacity(job)
        if capacity <= 0:
            return IDLE_S
        limiter = self._rate_limiters.setdefault(job.id, RateLimiter(job.rate)) if job.rate is not None else None
        allowed = limiter.allow(time.monotonic(), capacity) if limiter is not None else capacity
        if allowed:
            taken = await store.take(connection, job, allowed)
            if taken.count:
                reached(Failpoint.BEFORE_REPLAY)
            await self._send(connection, taken)
            if taken.count:
                reached(Failpoint.AFTER_REPLAY)
            if limiter is not None:
                limiter.refund(allowed - taken.count)
        return max(MIN_PAUSE_S, limiter.next_in) if limiter is not None else IDLE_S

    async def _send(self, connection: Connection, taken: TakenLetters) -> None:
        """Publish the letters. Returns when the broker has confirmed all of them."""
        now, request_id = datetime.now(UTC), f"replay/{uuid4()}"
        outgoing = list(resends(taken.events, request_id, now))
        if taken.commands:
            outgoing += map(command, await store.commands(connection, taken.commands))
        await self._publisher.publish_all(outgoing, sleep=self._outages.pause)
        if taken.commands:
            await store.replayed(connection, taken.commands)
            self._changed.set()

    async def _retry_overdue(self, connection: Connection) -> None:
        timing = self._timing
        if time.monotonic() - self._last_retry < timing.inquire_every / 10:
            return
        self._last_retry = time.monotonic()
        due = await store.overdue(connection, timing.inquire_every, timing.resend_every, timing.give_up_after)
        inquiry_messages = list(inquiries(due.inquire, f"inquiry/{uuid4()}", datetime.now(UTC)))
        await self._publisher.publish_all(inquiry_messages, sleep=self._outages.pause)
        await self._send(connection, due.resend)
        if due.given_up:
            log.warning("no outcome of %d replayed letters: they are dead again", len(due.given_up))

    async def _check_live_letters(self, connection: Connection) -> None:
        """Inquire about live letters, so that a letter is closed once its projection has passed it, even if that message was lost."""
        checked_at, after = self._last_check
        if time.monotonic() - checked_at < self._timing.check_every:
            return
        events, after = await store.live_events(connection, after)
        self._last_check = (time.monotonic(), after)
        inquiry_messages = list(inquiries(events, f"inquiry/{uuid4()}", datetime.now(UTC)))
        await self._publisher.publish_all(inquiry_messages, sleep=self._outages.pause)

    async def _send_pending(self, connection: Connection) -> None:
        await self._publisher.publish_all(await discards_due(connection), sleep=self._outages.pause)
        edited = await unsent_edited(connection)
        if edited:
            await self._publisher.publish_all(list(edited.values()), sleep=self._outages.pause)
            await mark_edited_sent(connection, list(edited))
        pending_marks = await unsent(connection)
        if pending_marks:
            await self._publisher.publish_all([each.message for each in pending_marks], sleep=self._outages.pause)
            await delete_sent(connection, pending_marks)
            self._changed.set()

    async def _wait(self, seconds: float) -> None:
        """Wait until ``wake`` is called, at most ``seconds``; then for COALESCE_S, because calls come in bursts."""
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                pass
        await self._outages.pause(COALESCE_S)


def _capacity(job: Job) -> int:
    """How many letters may be sent now.

    A job with ``stop_after`` starts with that many letters in its window, and every success adds one: regardless of ``concurrency``, a
    cause that is not fixed fails only ``stop_after`` letters, not all.
    """
    window = job.concurrency
    if job.progress.stop_after is not None:
        window = min(window, job.progress.stop_after + job.succeeded - job.progress.repeated_failures)
    capacity = min(window - job.under_way, job.queued, MAX_BATCH)
    minimum = min(window // 8, job.queued, MAX_BATCH) if job.rate is None else 1
    return capacity if capacity >= minimum else 0
