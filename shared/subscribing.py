"""One queue's own consumer: subscribed by itself, and again whenever that has ended, so that no queue waits for another.

    there? ──▶ a channel of its own ──▶ consuming ──channel closed, or consumer cancelled──▶ dropped ──jittered pause──▶ there?

FastStream's channels open again by themselves after an error; nothing is consumed on them before it is subscribed here.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any, Final

import aiormq
from aio_pika import IncomingMessage
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue
from faststream.rabbit.schemas.queue import QueueType

from shared.broker import CLOSE_DEADLINE_S, CONNECT_DEADLINE_S, BrokerError, deadline
from shared.queue_watch import MissingQueueError, ensure_there
from shared.reasons import reason

log: Final = logging.getLogger(__name__)

WATCH_EVERY_S: Final = 0.5
LONGEST_PAUSE_S: Final = 3.0


class Subscription:
    """``trouble``: why nothing is consumed from the queue now; None while it is."""

    def __init__(
        self,
        queue: str,
        deliver: Callable[[IncomingMessage], None],
        ended: Callable[[], None],
        *,
        prefetch: int,
        name: str,
    ) -> None:
        """``ended``: what was delivered, and not acknowledged, comes again."""
        self._queue = queue
        self._deliver = deliver
        self._ended = ended
        self._prefetch = prefetch
        self._name = name
        self._heard_at: float | None = None
        self.trouble: str | None = f"queue {queue} is not consumed from yet"

    @property
    def silent_s(self) -> float:
        """How long nothing has come, where something has come before since it was subscribed; else 0."""
        return 0.0 if self._heard_at is None else time.monotonic() - self._heard_at

    async def keep(self, broker: RabbitBroker) -> None:
        """Consume over this connection until cancelled."""
        channel, failures = Channel(prefetch_count=self._prefetch), 0
        while True:
            try:
                await ensure_there(await broker.connect(), self._queue)
                consuming = await self._subscribe(broker, channel)
                self.trouble, self._heard_at, failures = None, None, 0
                log.info("%s is consuming from %s", self._name, self._queue)
                await _until_gone(consuming)
                self.trouble = f"RabbitMQ has ended the consuming from queue {self._queue}"
                self._ended()
                await _closed(consuming)
            except MissingQueueError as error:
                self.trouble = str(error)
            except BrokerError as error:
                self.trouble = f"queue {self._queue} cannot be consumed from: {reason(error)}"
            failures += 1
            await asyncio.sleep(random.uniform(0, min(LONGEST_PAUSE_S, 0.2 * 2**failures)))  # noqa: S311 - jitter

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
        async with deadline(CONNECT_DEADLINE_S):
            await subscriber.start()
            queue: Any = getattr(subscriber, "_queue_obj", None)
            underlay: aiormq.abc.AbstractChannel = await queue.channel.get_underlay_channel()
        return underlay

    async def _receive(self, raw: IncomingMessage) -> None:
        if raw.delivery_tag is not None:
            self._heard_at = time.monotonic()
            self._deliver(raw)


async def _until_gone(channel: aiormq.abc.AbstractChannel) -> None:
    """Return when the channel, or the consumer on it, is gone: nothing tells when the broker has cancelled a consumer."""
    consuming: Any = channel
    while not channel.is_closed and consuming.consumers:  # noqa: ASYNC110
        await asyncio.sleep(WATCH_EVERY_S)


async def _closed(channel: aiormq.abc.AbstractChannel) -> None:
    """What was delivered on it, and not acknowledged, goes back to its queue; the next consuming gets a new one."""
    async with deadline(CLOSE_DEADLINE_S):
        await channel.close(aiormq.exceptions.ChannelClosed(None, None))


async def _undecoded(message: RabbitMessage) -> IncomingMessage:
    """FastStream's decoder would parse JSON by content type; a batch is decoded by its worker, where a failure has a place.

    Not the message itself: it keeps what it is decoded to, and would keep itself, with its body, until the collector comes.
    """
    return message.raw_message
