"""The consumer of one queue: subscribed, and resubscribed whenever it ends, independently of other queues.

    there? ──▶ its own channel ──▶ consuming ──channel closed, or consumer cancelled──▶ dropped ──jittered pause──▶ there?

FastStream's channels reopen by themselves after an error; nothing is consumed on them before it is subscribed here.

A quorum queue that is deleted and soon declared again has lost its consumers, and RabbitMQ 3.10 does not notify them. So when a queue has
no consumer, as ``QueueWatch`` finds, we have none either. Declared again within some 50 ms it even counts ours, but its deliveries never
arrive. So a consumer that is idle for a while, with nothing unacknowledged, is replaced by a new one: this affects no message.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import aiormq
from aio_pika import IncomingMessage
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue
from faststream.rabbit.schemas.queue import QueueType

from shared.messaging.broker import CLOSE_DEADLINE_S, CONNECT_DEADLINE_S, BrokerError, deadline
from shared.messaging.queue_watch import MissingQueueError, QueueWatch, consumers_of
from shared.runtime.reasons import reason

log: Final = logging.getLogger(__name__)

WATCH_EVERY_S: Final = 0.5
LONGEST_PAUSE_S: Final = 3.0
RENEW_AFTER_S: Final = 20.0
RECHECK_S: Final = 1.0
"""An overloaded broker may also report a queue without consumers, so that is checked twice."""


class Subscription:
    """Consumes from one queue. ``trouble``: why it does not at the moment; None while it does."""

    def __init__(
        self,
        queue: str,
        deliver: Callable[[IncomingMessage], None],
        acknowledged: Callable[[aiormq.abc.AbstractChannel], int],
        ended: Callable[[aiormq.abc.AbstractChannel], None],
        *,
        prefetch: int,
        name: str,
    ) -> None:
        """``acknowledged``: the tag up to which all of a channel is acknowledged. ``ended``: unacknowledged deliveries are redelivered."""
        self._queue = queue
        self._deliver = deliver
        self._acknowledged = acknowledged
        self._ended = ended
        self._prefetch = prefetch
        self._name = name
        self._last_delivery_at: float | None = None
        self._last_tag = 0
        self._subscribed_at = 0.0
        self.trouble: str | None = f"queue {queue} is not consumed from yet"

    @property
    def silent_s(self) -> float:
        """Seconds since the last delivery; 0 if there was none since the subscription."""
        return 0.0 if self._last_delivery_at is None else time.monotonic() - self._last_delivery_at

    async def keep(self, broker: RabbitBroker, watch: QueueWatch, turn: asyncio.Lock) -> None:
        """Consume over this connection, on which ``watch`` monitors the queue, until cancelled.

        ``turn``: the queues of a connection are subscribed one after another. So on short-lived connections fewer messages are delivered
        in vain, each of which counts towards the delivery limit.
        """
        channel, failures = Channel(prefetch_count=self._prefetch), 0
        while True:
            consuming, renewing = None, False
            try:
                async with turn:
                    await consumers_of(await broker.connect(), self._queue)
                    consuming = await self._subscribe(broker, channel)
                watch.unconsumed.discard(self._queue)
                if self.trouble is not None:
                    log.info("%s is consuming from %s", self._name, self._queue)
                self.trouble, failures = None, 0
                while _is_consuming(consuming) and not renewing and not await self._has_no_consumer(broker, watch):
                    await asyncio.sleep(WATCH_EVERY_S)
                    renewing = self._is_idle(consuming)
                if not renewing:
                    self.trouble = f"RabbitMQ has ended the consuming from queue {self._queue}"
            except MissingQueueError as error:
                self.trouble = str(error)
            except BrokerError as error:
                self.trouble = f"queue {self._queue} cannot be consumed from: {reason(error)}"
            if consuming is not None:
                self._ended(consuming)
                await _close(consuming)
            if renewing:
                continue
            failures += 1
            await asyncio.sleep(random.uniform(0, min(LONGEST_PAUSE_S, 0.2 * 2**failures)))  # noqa: S311 - jitter

    def _is_idle(self, channel: aiormq.abc.AbstractChannel) -> bool:
        """Whether the consumer can be replaced without affecting any message."""
        since = time.monotonic() - (self._last_delivery_at or self._subscribed_at)
        return since > RENEW_AFTER_S and self._acknowledged(channel) == self._last_tag

    async def _has_no_consumer(self, broker: RabbitBroker, watch: QueueWatch) -> bool:
        """Whether the queue has no consumer, at two checks."""
        if self._queue not in watch.unconsumed:
            return False
        watch.unconsumed.discard(self._queue)
        await asyncio.sleep(RECHECK_S)
        return await consumers_of(await broker.connect(), self._queue) == 0

    async def _subscribe(self, broker: RabbitBroker, channel: Channel) -> aiormq.abc.AbstractChannel:
        """The channel of the deliveries. ``robust=False``: a consumer that restores itself would bring stale deliveries."""
        subscriber = broker.subscriber(
            RabbitQueue(self._queue, QueueType.QUORUM, durable=True, declare=False, robust=False),
            channel=channel,
            ack_policy=AckPolicy.MANUAL,
            decoder=_raw_message,
            no_reply=True,
            persistent=False,
        )
        subscriber(self._receive)
        self._last_delivery_at, self._last_tag, self._subscribed_at = None, 0, time.monotonic()
        subscriber.running = True  # otherwise it drops, never acknowledged, what arrives before ``start`` returns
        async with deadline(CONNECT_DEADLINE_S):
            await subscriber.start()
            queue: Any = getattr(subscriber, "_queue_obj", None)
            underlay: aiormq.abc.AbstractChannel = await queue.channel.get_underlay_channel()
        return underlay

    async def _receive(self, raw: IncomingMessage) -> None:
        if raw.delivery_tag is not None:
            self._last_delivery_at, self._last_tag = time.monotonic(), raw.delivery_tag
            self._deliver(raw)


def _is_consuming(channel: aiormq.abc.AbstractChannel) -> bool:
    """Whether the channel is open and has its consumer."""
    consuming: Any = channel
    return not channel.is_closed and bool(consuming.consumers)


async def _close(channel: aiormq.abc.AbstractChannel) -> None:
    """Close the channel: its unacknowledged deliveries return to the queue; the next subscription opens a new one."""
    with suppress(BrokerError):
        async with deadline(CLOSE_DEADLINE_S):
            await channel.close(aiormq.exceptions.ChannelClosed(None, None))


async def _raw_message(message: RabbitMessage) -> IncomingMessage:
    """FastStream's decoder would parse JSON by content type; a batch is decoded by its worker, which can handle failures.

    Returns the raw message, not ``message`` itself, which keeps its decoded form: a reference cycle that holds the body until the
    garbage collector runs.
    """
    return message.raw_message
