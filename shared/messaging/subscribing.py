"""One queue's own consumer: subscribed by itself, and again whenever that has ended, so that no queue waits for another.

    there? ──▶ a channel of its own ──▶ consuming ──channel closed, or consumer cancelled──▶ dropped ──jittered pause──▶ there?

FastStream's channels open again by themselves after an error; nothing is consumed on them before it is subscribed here.

A quorum queue that is deleted and soon made again has lost its consumers, and RabbitMQ 3.10 does not tell them. So where nobody consumes
from a queue, as ``QueueWatch`` sees, we do not either. Made again within some 50 ms it even counts us, and what it delivers never arrives.
So a consumer to which nothing has come for a while, and which holds nothing, is replaced by a new one: no message notices.
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
RENEWED_AFTER_S: Final = 20.0
LOOK_AGAIN_S: Final = 1.0
"""A broker that is short of time says that a queue has no consumers, too."""


class Subscription:
    """``trouble``: why nothing is consumed from the queue now; None while it is."""

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
        """``acknowledged``: up to which tag all of a channel is. ``ended``: what was delivered, and not acknowledged, comes again."""
        self._queue = queue
        self._deliver = deliver
        self._acknowledged = acknowledged
        self._ended = ended
        self._prefetch = prefetch
        self._name = name
        self._heard_at: float | None = None
        self._last_tag = 0
        self._subscribed_at = 0.0
        self.trouble: str | None = f"queue {queue} is not consumed from yet"

    @property
    def silent_s(self) -> float:
        """How long nothing has come, where something has come before since it was subscribed; else 0."""
        return 0.0 if self._heard_at is None else time.monotonic() - self._heard_at

    async def keep(self, broker: RabbitBroker, watch: QueueWatch, turn: asyncio.Lock) -> None:
        """Consume over this connection, which ``watch`` watches this queue over, until cancelled.

        ``turn``: one queue of the connection after another is subscribed. Where connections do not live long, fewer messages are
        delivered in vain, and counted for it.
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
                while _lives(consuming) and not renewing and not await self._is_forgotten(broker, watch):
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
        """Whether a new consumer in its place makes no difference."""
        since = time.monotonic() - (self._heard_at or self._subscribed_at)
        return since > RENEWED_AFTER_S and self._acknowledged(channel) == self._last_tag

    async def _is_forgotten(self, broker: RabbitBroker, watch: QueueWatch) -> bool:
        """Whether nobody consumes from the queue, and not for a moment only."""
        if self._queue not in watch.unconsumed:
            return False
        watch.unconsumed.discard(self._queue)
        await asyncio.sleep(LOOK_AGAIN_S)
        return await consumers_of(await broker.connect(), self._queue) == 0

    async def _subscribe(self, broker: RabbitBroker, channel: Channel) -> aiormq.abc.AbstractChannel:
        """What deliveries come on. ``robust=False``: a consumer that came back by itself would bring stale deliveries with it."""
        subscriber = broker.subscriber(
            RabbitQueue(self._queue, QueueType.QUORUM, durable=True, declare=False, robust=False),
            channel=channel,
            ack_policy=AckPolicy.MANUAL,
            decoder=_undecoded,
            no_reply=True,
            persistent=False,
        )
        subscriber(self._receive)
        self._heard_at, self._last_tag, self._subscribed_at = None, 0, time.monotonic()
        subscriber.running = True  # or it would drop, unacknowledged for ever, what comes before ``start`` has returned
        async with deadline(CONNECT_DEADLINE_S):
            await subscriber.start()
            queue: Any = getattr(subscriber, "_queue_obj", None)
            underlay: aiormq.abc.AbstractChannel = await queue.channel.get_underlay_channel()
        return underlay

    async def _receive(self, raw: IncomingMessage) -> None:
        if raw.delivery_tag is not None:
            self._heard_at, self._last_tag = time.monotonic(), raw.delivery_tag
            self._deliver(raw)


def _lives(channel: aiormq.abc.AbstractChannel) -> bool:
    """Whether the channel, and the consumer on it, are still there."""
    consuming: Any = channel
    return not channel.is_closed and bool(consuming.consumers)


async def _close(channel: aiormq.abc.AbstractChannel) -> None:
    """What was delivered on it, and not acknowledged, goes back to its queue; the next consuming gets a new one."""
    with suppress(BrokerError):
        async with deadline(CLOSE_DEADLINE_S):
            await channel.close(aiormq.exceptions.ChannelClosed(None, None))


async def _undecoded(message: RabbitMessage) -> IncomingMessage:
    """FastStream's decoder would parse JSON by content type; a batch is decoded by its worker, where a failure has a place.

    Not the message itself: it keeps what it is decoded to, and would keep itself, with its body, until the collector comes.
    """
    return message.raw_message
