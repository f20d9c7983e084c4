"""Sending commands so that each is known to have its outcome: windowed, confirmed, answered, sent again where in doubt.

    commands ──parcels──▶ window ──confirmed──▶ [commands] … worker … ──▶ our reply queue ──▶ outcomes, counted

A command leaves the window with its outcome and in no other way. When none comes in time, the broker refuses it, or a
connection is lost on either side, it is sent again under the same id: the service decides it once and answers with
the same outcome. Publishing and receiving have a connection each. An outage is waited for, as long as the sender's
patience lasts.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from deploy.sending.outcomes import Outcome, Tally, notices_in, outcomes_in
from deploy.sending.parcels import CommandMessage, Parcel, parcels
from shared.messages.envelope import MAX_BATCH
from shared.messaging import topology
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from shared.messaging.replies import Replies

LOOK_EVERY_S: Final = 0.2
LONGEST_RESEND_S: Final = 60.0

OnOutcome = Callable[[Outcome], None]


class UnansweredError(Exception):
    """Nothing was answered for longer than the sender's patience; ``unanswered`` commands have no known outcome."""

    def __init__(self, unanswered: int, trouble: BrokerError | str | None) -> None:
        why = f"; last trouble: {trouble}" if trouble else "; is the command service running?"
        super().__init__(f"{unanswered} commands have no outcome yet{why}")
        self.unanswered = unanswered


@dataclass(slots=True)
class _InFlight:
    parcel: Parcel
    waiting: dict[str, CommandMessage]
    first_sent: float
    sent: float
    reply_to: str = ""
    times: int = 0
    publishing: bool = False


@dataclass(slots=True)
class CommandSender:
    """Sends over RabbitMQ at ``url``. At most ``window`` commands are without outcome at any time, ``parcel`` in a
    message.

    ``resend_after_s``: how long to wait for an outcome before sending again (doubled each time, to at most a minute).
    ``patience_s``: how long to go on while nothing at all is answered.
    """

    url: str
    window: int = 2000
    parcel: int = MAX_BATCH
    resend_after_s: float = 10.0
    patience_s: float = 300.0
    name: str = "sender"
    tally: Tally = field(default_factory=Tally)
    """Counts so far; may be read while sending."""

    _in_flight: dict[str, _InFlight] = field(default_factory=dict, init=False)
    _outstanding: int = field(default=0, init=False)
    _answered_at: float = field(default=0.0, init=False)
    _moved: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _publishing: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _trouble: BrokerError | None = field(default=None, init=False)
    _notice: str = field(default="", init=False)
    """Why a command has no outcome yet, as the service said last."""
    _on_outcome: OnOutcome | None = field(default=None, init=False)
    _publisher: Publisher = field(init=False)
    _replies: Replies = field(init=False)

    def __post_init__(self) -> None:
        self._publisher = Publisher(self.url, self.name)
        self._replies = Replies(self.url, self._receive, self.name)

    async def send(self, commands: Iterable[CommandMessage], on_outcome: OnOutcome | None = None) -> Tally:
        """Return when every command has its outcome; ``on_outcome`` is called once with each, in no certain order.

        Raises UnansweredError. Sending the same commands again is always safe.
        """
        self._on_outcome = on_outcome
        self._answered_at = time.monotonic()
        work: tuple[Callable[[], Awaitable[None]], ...] = (lambda: self._feed(commands), self._watch, self._replies.run)
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
        for parcel in parcels(commands, most=min(self.parcel, self.window)):
            while self._outstanding + len(parcel.commands) > self.window:
                await self._move()
            now = time.monotonic()
            if not self._outstanding:
                self._answered_at = now
            flight = _InFlight(parcel, {command.id: command for command in parcel.commands}, now, now)
            self.tally.sent += len(parcel.commands)
            self._outstanding += len(parcel.commands)
            key = uuid4().hex
            self._in_flight[key] = flight
            self._start_publishing(key, flight)
        while self._outstanding:
            await self._move()

    async def _move(self) -> None:
        """Return when an answer has come."""
        self._moved.clear()
        await self._moved.wait()

    async def _watch(self) -> None:
        """Send again what is overdue or was to be answered at a place that is gone; give up when patience ends."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for task in [task for task in self._publishing if task.done()]:
                self._publishing.discard(task)
                task.result()
            now = time.monotonic()
            silent = self._outstanding or not self._replies.queue
            if silent and now - self._answered_at > self.patience_s:
                raise UnansweredError(self._outstanding, self._notice or self._trouble or self._replies.error)
            if self._replies.queue:
                for key, flight in list(self._in_flight.items()):
                    if not flight.publishing and self._is_due(flight, now):
                        self.tally.resent += len(flight.waiting)
                        self._start_publishing(key, flight)

    def _is_due(self, flight: _InFlight, now: float) -> bool:
        patience = min(self.resend_after_s * 2 ** (flight.times - 1), LONGEST_RESEND_S)
        return flight.reply_to != self._replies.queue or now - flight.sent > patience

    def _start_publishing(self, key: str, flight: _InFlight) -> None:
        flight.publishing = True
        flight.reply_to = self._replies.queue
        flight.sent = time.monotonic()
        flight.times += 1
        task = asyncio.create_task(self._publish(key, flight))
        self._publishing.add(task)

    async def _publish(self, key: str, flight: _InFlight) -> None:
        if not flight.waiting:  # answered since it was found to be due
            flight.publishing = False
            return
        parcel = Parcel(flight.parcel.type, tuple(flight.waiting.values()))
        try:
            await self._publisher.publish(
                Outgoing(
                    exchange=topology.COMMANDS,
                    routing_key=parcel.type,
                    body=parcel.body,
                    content_type=parcel.content_type,
                    type=parcel.type,
                    correlation_id=key,
                    reply_to=flight.reply_to,
                )
            )
        except BrokerError as error:
            self._trouble = error
            flight.reply_to = ""  # not kept by the broker, as far as we know: due again at the next look
        finally:
            flight.publishing = False

    def _receive(self, body: bytes, key: str) -> None:
        flight = self._in_flight.get(key)
        if flight is None:
            return  # answered before: it had been sent twice
        now = time.monotonic()
        alone = len(flight.parcel.commands) == 1
        for notice in notices_in(body):
            self._notice = notice  # the command stays in flight, and is sent again
        outcomes = list(outcomes_in(body))
        if not outcomes:
            return
        for outcome in outcomes:
            # A command so broken that its id could not be read is still the only one in its message.
            command = flight.waiting.pop(flight.parcel.commands[0].id if alone else outcome.command_id, None)
            if command is None:
                continue
            self._outstanding -= 1
            self.tally.count(outcome, now - flight.first_sent)
            if self._on_outcome is not None:
                self._on_outcome(outcome)
        if not flight.waiting:
            del self._in_flight[key]
        self._answered_at = now
        self._moved.set()
