"""Monitors the queues that a process depends on: they exist, with the arguments of ``shared.messaging.topology``, and the broker responds.

    every few seconds, each queue ──passive declaration──▶ missing?
                                  └─active declaration───▶ other arguments? (only of an existing queue: nothing is created)

Both use a separate channel, which a negative answer closes. A user without the permission to configure checks only for missing queues.
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
PER_QUEUE_S: Final = 0.05
"""Minimum time per queue: with very many queues a round takes longer."""
SILENT_AFTER_S: Final = 3.0
RETRY_S: Final = 0.5
MAX_NAMED: Final = 3
"""At most this many queues are named; the rest are counted."""
_OTHER_ARGUMENT: Final = re.compile(r"inequivalent arg '([^']+)'")


class MissingQueueError(BrokerUnavailableError):
    """No queue has that name."""


class QueueWatch:
    """Checks queues periodically, over a shared connection."""

    def __init__(
        self, connected: Callable[[], Awaitable[AbstractConnection]], queues: Sequence[str], *, every_s: float = EVERY_S
    ) -> None:
        """``connected``: returns the connection to use, opening it if necessary; may raise BrokerError."""
        self._connected = connected
        self._queues = queues
        self._every_s = max(every_s, PER_QUEUE_S * len(queues))
        self._progress = StallDetector(stalled_after_s=SILENT_AFTER_S, failing_after_s=SILENT_AFTER_S)
        self._faults: dict[str, str] = {}
        self._may_configure = True
        self.unconsumed: set[str] = set()
        """Queues without a consumer at the last check: RabbitMQ may lose a consumer silently (see ``shared.messaging.subscribing``)."""

    @property
    def unresponsive(self) -> str | None:
        """How long the broker has not responded over this connection, if that is too long."""
        return self._progress.trouble

    @property
    def trouble(self) -> str | None:
        """The queues that are missing or have other arguments, with the remedy; or that the broker does not respond."""
        if unresponsive := self.unresponsive:
            return unresponsive
        named = [self._faults[queue] for queue in self._queues if queue in self._faults]
        rest = f"; and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
        return "; ".join(named[:MAX_NAMED]) + rest or None

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            with self._progress.step("RabbitMQ does not answer") as step:
                while True:
                    try:
                        async with deadline(CONNECT_DEADLINE_S):
                            await self._round()
                        break
                    except BrokerError as error:
                        step.failed(error)
                        await asyncio.sleep(RETRY_S)
            await asyncio.sleep(self._every_s)

    async def _round(self) -> None:
        connection = await self._connected()
        channel: AbstractChannel | None = None
        try:
            for queue in self._queues:
                if channel is None or channel.is_closed:
                    channel = await _opened(connection)
                fault = await self._fault_of(channel, queue)
                if fault is None:
                    self._faults.pop(queue, None)
                else:
                    self._faults[queue] = fault
        finally:
            if channel is not None and not channel.is_closed:
                await channel.close()

    async def _fault_of(self, channel: AbstractChannel, queue: str) -> str | None:
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
    """The number of the queue's consumers, of all connections. Raises MissingQueueError, or BrokerUnavailableError.

    Uses a separate channel, which closes if the queue is missing.
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
    """The message for a queue that is missing, or that temporarily has no leader, which RabbitMQ reports in the same way."""
    if "no queue" in str(error):
        return f"queue {queue} is missing: run `tidemark migrate`"
    return f"queue {queue} cannot be used: {error}"


async def _opened(connection: AbstractConnection) -> AbstractChannel:
    """A channel that does not reopen by itself, whatever the kind of connection."""
    channel = Channel(connection, publisher_confirms=False)
    await channel.initialize()
    return channel
