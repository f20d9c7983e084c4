"""The queues that a process depends on: there, made as ``shared.messaging.topology`` says, and their broker answers.

    every few seconds, each queue ──passive declaration──▶ missing?
                                  └─active declaration───▶ made with other arguments? (only of one that is there: nothing is created)

Both on a channel of its own, which such an answer closes. Whoever may not configure queues is told of missing ones only.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aiormq.exceptions
from aio_pika import Channel
from aio_pika.abc import AbstractChannel, AbstractConnection

from shared.messaging import topology
from shared.messaging.broker import CONNECT_DEADLINE_S, BrokerError, BrokerUnavailableError, deadline
from shared.runtime.stalls import StallDetector

log: Final = logging.getLogger(__name__)

EVERY_S: Final = 4.0
EACH_S: Final = 0.05
"""With very many queues a round takes longer."""
SILENT_AFTER_S: Final = 3.0
AGAIN_S: Final = 0.5
NAMED: Final = 3
"""So many queues are named; of others, how many there are."""
_OTHER_ARGUMENT: Final = re.compile(r"inequivalent arg '([^']+)'")


class MissingQueueError(BrokerUnavailableError):
    """There is no queue of that name."""


class QueueWatch:
    """Looks now and then, over a connection that others use."""

    def __init__(
        self, connected: Callable[[], Awaitable[AbstractConnection]], queues: Sequence[str], *, every_s: float = EVERY_S
    ) -> None:
        """``connected``: the connection to ask over, made where there is none; it may raise BrokerError."""
        self._connected = connected
        self._queues = queues
        self._every_s = max(every_s, EACH_S * len(queues))
        self._progress = StallDetector(stalled_after_s=SILENT_AFTER_S, failing_after_s=SILENT_AFTER_S)
        self._wrong: dict[str, str] = {}
        self._may_configure = True
        self.unconsumed: set[str] = set()
        """Queues without a consumer at the last check: RabbitMQ may drop a consumer silently (see ``shared.messaging.subscribing``)."""

    @property
    def silence(self) -> str | None:
        """For how long the broker has not answered over this connection, when it should have long ago."""
        return self._progress.trouble

    @property
    def trouble(self) -> str | None:
        """Which queues are missing, or made otherwise, and what mends it; or that the broker does not answer."""
        if silence := self.silence:
            return silence
        named = [self._wrong[queue] for queue in self._queues if queue in self._wrong]
        rest = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
        return "; ".join(named[:NAMED]) + rest or None

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            with self._progress.step("RabbitMQ does not answer") as step:
                while True:
                    try:
                        async with deadline(CONNECT_DEADLINE_S):
                            await self._round()
                        break
                    except BrokerError as error:
                        step.failed(error)
                        await asyncio.sleep(AGAIN_S)
            await asyncio.sleep(self._every_s)

    async def _round(self) -> None:
        connection = await self._connected()
        channel: AbstractChannel | None = None
        try:
            for queue in self._queues:
                if channel is None or channel.is_closed:
                    channel = await _opened(connection)
                wrong = await self._wrong_with(channel, queue)
                if wrong is None:
                    self._wrong.pop(queue, None)
                else:
                    self._wrong[queue] = wrong
        finally:
            if channel is not None and not channel.is_closed:
                await channel.close()

    async def _wrong_with(self, channel: AbstractChannel, queue: str) -> str | None:
        try:
            found = await channel.declare_queue(queue, passive=True)
            (self.unconsumed.discard if found.declaration_result.consumer_count else self.unconsumed.add)(queue)
            wanted = topology.queue_named(queue)
            if wanted is not None and self._may_configure:
                await channel.declare_queue(queue, durable=True, arguments=wanted.arguments)
        except aiormq.exceptions.ChannelNotFoundEntity as error:
            return missing(queue, error)
        except aiormq.exceptions.ChannelPreconditionFailed as error:
            named = _OTHER_ARGUMENT.search(str(error))
            what = f"another {named[1]} than it should" if named else "not been made as it should"
            return f"queue {queue} has {what}: run `tidemark migrate` while nothing consumes from it"
        except aiormq.exceptions.ChannelAccessRefused as error:
            log.info("the arguments of queues are not checked: %s", error)
            self._may_configure = False
        return None


async def consumers_of(connection: AbstractConnection, queue: str) -> int:
    """How many there are, of whoever's. Raises MissingQueueError, or BrokerUnavailableError.

    On a channel of its own, so that no other suffers for what is not there.
    """
    async with deadline(CONNECT_DEADLINE_S):
        channel = await _opened(connection)
        try:
            found = await channel.declare_queue(queue, passive=True)
        except aiormq.exceptions.ChannelNotFoundEntity as error:
            raise MissingQueueError(missing(queue, error)) from error
        else:
            return found.declaration_result.consumer_count or 0
        finally:
            if not channel.is_closed:
                await channel.close()


def missing(queue: str, error: aiormq.exceptions.ChannelNotFoundEntity) -> str:
    """A queue that has no leader at the moment is not found either, and the broker says so."""
    if "no queue" in str(error):
        return f"queue {queue} is missing: run `tidemark migrate`"
    return f"queue {queue} cannot be used: {error}"


async def _opened(connection: AbstractConnection) -> AbstractChannel:
    """A channel that does not come back by itself, whatever kind of connection it is on."""
    channel = Channel(connection, publisher_confirms=False)
    await channel.initialize()
    return channel
