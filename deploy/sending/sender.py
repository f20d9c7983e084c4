"""Sends commands until each has its outcome: windowed, with publisher confirms, and sent again when in doubt.

    commands ──batches──▶ window ──confirmed──▶ [commands] … worker … ──▶ reply queue ──▶ outcomes, counted

A command leaves the window only when its outcome is received. When no outcome arrives in time, the broker refuses the
message, or either connection is lost, the command is sent again under the same id: the service decides it once and
replies with the same outcome. Publishing and receiving use a connection each. The sender waits for an outage to end, for
at most ``silence_timeout_s``.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from deploy.sending.batches import CommandBatch, CommandMessage, batches
from deploy.sending.outcomes import Outcome, Tally, outcomes_in, pending_reasons_in
from shared.messages.envelope import MAX_BATCH
from shared.messaging import topology
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from shared.messaging.replies import Replies

CHECK_INTERVAL_S: Final = 0.2
MAX_RESEND_S: Final = 60.0

OnOutcome = Callable[[Outcome], None]


class UnansweredCommandsError(Exception):
    """No reply arrived within the sender's ``silence_timeout_s``; ``unanswered`` commands have no known outcome."""

    def __init__(self, unanswered: int, last_error: BrokerError | str | None) -> None:
        why = f"; last error: {last_error}" if last_error else "; is the command service running?"
        super().__init__(f"{unanswered} commands have no outcome yet{why}")
        self.unanswered = unanswered


@dataclass(slots=True)
class _InFlight:
    batch: CommandBatch
    pending: dict[str, CommandMessage]
    first_sent_at: float
    last_sent_at: float
    reply_to: str = ""
    attempts: int = 0
    publishing: bool = False


@dataclass(slots=True)
class CommandSender:
    """Sends over RabbitMQ at ``url``. At most ``window`` commands are without an outcome at any time, and at most
    ``batch_size`` in a message.

    ``resend_after_s``: how long to wait for an outcome before sending again (doubled each time, to at most a minute).
    ``silence_timeout_s``: how long to continue while no reply arrives.
    """

    url: str
    window: int = 2000
    batch_size: int = MAX_BATCH
    resend_after_s: float = 10.0
    silence_timeout_s: float = 300.0
    name: str = "sender"
    tally: Tally = field(default_factory=Tally)
    """Counts so far; may be read while sending."""

    _in_flight: dict[str, _InFlight] = field(default_factory=dict, init=False)
    _outstanding: int = field(default=0, init=False)
    _last_reply_at: float = field(default=0.0, init=False)
    _progress: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _publishing: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _last_error: BrokerError | None = field(default=None, init=False)
    _pending_reason: str = field(default="", init=False)
    """Why a command has no outcome yet, from the latest pending notice."""
    _on_outcome: OnOutcome | None = field(default=None, init=False)
    _publisher: Publisher = field(init=False)
    _replies: Replies = field(init=False)

    def __post_init__(self) -> None:
        self._publisher = Publisher(self.url, self.name)
        self._replies = Replies(self.url, self._receive, self.name)

    async def send(self, commands: Iterable[CommandMessage], on_outcome: OnOutcome | None = None) -> Tally:
        """Return when every command has its outcome; ``on_outcome`` is called once with each, in no particular order.

        Raises UnansweredCommandsError. Sending the same commands again is always safe.
        """
        self._on_outcome = on_outcome
        self._last_reply_at = time.monotonic()
        work: tuple[Callable[[], Awaitable[None]], ...] = (
            lambda: self._feed(commands),
            self._resend_overdue,
            self._replies.run,
        )
        tasks = [asyncio.ensure_future(start()) for start in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            rest = [task for task in (*tasks, *self._publishing) if not task.done()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            await self._publisher.close()
        return self.tally

    async def _feed(self, commands: Iterable[CommandMessage]) -> None:
        await self._replies.ready()
        for batch in batches(commands, most=min(self.batch_size, self.window)):
            while self._outstanding + len(batch.commands) > self.window:
                await self._wait_for_progress()
            now = time.monotonic()
            if not self._outstanding:
                self._last_reply_at = now
            flight = _InFlight(batch, {command.id: command for command in batch.commands}, now, now)
            self.tally.sent += len(batch.commands)
            self._outstanding += len(batch.commands)
            key = uuid4().hex
            self._in_flight[key] = flight
            self._start_publishing(key, flight)
        while self._outstanding:
            await self._wait_for_progress()

    async def _wait_for_progress(self) -> None:
        """Return when the next outcomes have been received."""
        self._progress.clear()
        await self._progress.wait()

    async def _resend_overdue(self) -> None:
        """Send again what is overdue or was to be answered on a reply queue that no longer exists.

        Raises UnansweredCommandsError after ``silence_timeout_s`` without a reply.
        """
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            for task in [task for task in self._publishing if task.done()]:
                self._publishing.discard(task)
                task.result()
            now = time.monotonic()
            silent = self._outstanding or not self._replies.queue
            if silent and now - self._last_reply_at > self.silence_timeout_s:
                raise UnansweredCommandsError(
                    self._outstanding, self._pending_reason or self._last_error or self._replies.error
                )
            if self._replies.queue:
                for key, flight in list(self._in_flight.items()):
                    if not flight.publishing and self._is_due(flight, now):
                        self.tally.resent += len(flight.pending)
                        self._start_publishing(key, flight)

    def _is_due(self, flight: _InFlight, now: float) -> bool:
        resend_after = min(self.resend_after_s * 2 ** (flight.attempts - 1), MAX_RESEND_S)
        return flight.reply_to != self._replies.queue or now - flight.last_sent_at > resend_after

    def _start_publishing(self, key: str, flight: _InFlight) -> None:
        flight.publishing = True
        flight.reply_to = self._replies.queue
        flight.last_sent_at = time.monotonic()
        flight.attempts += 1
        task = asyncio.create_task(self._publish(key, flight))
        self._publishing.add(task)

    async def _publish(self, key: str, flight: _InFlight) -> None:
        if not flight.pending:  # answered after it was found to be due
            flight.publishing = False
            return
        batch = CommandBatch(flight.batch.type, tuple(flight.pending.values()))
        try:
            await self._publisher.publish(
                Outgoing(
                    exchange=topology.COMMANDS,
                    routing_key=batch.type,
                    body=batch.body,
                    content_type=batch.content_type,
                    type=batch.type,
                    correlation_id=key,
                    reply_to=flight.reply_to,
                )
            )
        except BrokerError as error:
            self._last_error = error
            flight.reply_to = ""  # possibly not stored by the broker: due again at the next check
        finally:
            flight.publishing = False

    def _receive(self, body: bytes, key: str) -> None:
        flight = self._in_flight.get(key)
        if flight is None:
            return  # a duplicate reply: the commands were sent twice
        now = time.monotonic()
        alone = len(flight.batch.commands) == 1
        for reason in pending_reasons_in(body):
            self._pending_reason = reason  # the command stays in flight, and is sent again
        outcomes = list(outcomes_in(body))
        if not outcomes:
            return
        for outcome in outcomes:
            # The outcome of a malformed command may lack its id; a command alone in its message is identified by that.
            command = flight.pending.pop(flight.batch.commands[0].id if alone else outcome.command_id, None)
            if command is None:
                continue
            self._outstanding -= 1
            self.tally.count(outcome, now - flight.first_sent_at)
            if self._on_outcome is not None:
                self._on_outcome(outcome)
        if not flight.pending:
            del self._in_flight[key]
        self._last_reply_at = now
        self._progress.set()
