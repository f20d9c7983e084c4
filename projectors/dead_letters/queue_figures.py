"""Gauges of RabbitMQ's queues: how many messages wait, and which queues lack a consumer or do not exist.

Passive declarations, one after another, over a channel of its own: they need no permission and change nothing. What a projector's lanes
have in common is one series, whatever their number.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import aiormq.exceptions
from aio_pika import Channel
from aio_pika.abc import AbstractChannel, AbstractConnection

from shared.messaging import topology
from shared.observability import metrics
from shared.observability.families import Family
from shared.status.queues import LANES, QueueDepth, QueueStates

FAMILIES: Final[tuple[Family, ...]] = (metrics.QUEUE_MESSAGES, metrics.UNCONSUMED, metrics.MISSING_QUEUES)


class QueueFigures:
    """``connected``: returns the connection to use, opening it if necessary; may raise BrokerError."""

    def __init__(self, connected: Callable[[], Awaitable[AbstractConnection]], lanes: int) -> None:
        self._connected = connected
        self._labels = {queue.name: _label(queue.name) for queue in topology.declarations(lanes).queues}
        self._with_consumer = {name for name in self._labels if not _is_delay(name)}
        self.latest: QueueStates | None = None
        """What ``read`` found last; None: it failed, or has not been called."""

    @property
    def with_consumer(self) -> set[str]:
        """The labels of queues that should have a consumer."""
        return {self._labels[name] for name in self._with_consumer}

    @property
    def queues(self) -> int:
        return len(self._labels)

    async def read(self) -> None:
        """Set FAMILIES. Raises BrokerError, and the driver's errors."""
        self.latest = None
        found = self.latest = await self.look()
        metrics.QUEUE_MESSAGES.replace({(label,): count for label, count in found.waiting.items()})
        metrics.UNCONSUMED.replace({(label,): count for label, count in found.unconsumed.items()})
        metrics.MISSING_QUEUES.set(len(found.missing))

    async def look(self) -> QueueStates:
        """Raises BrokerError, and the driver's errors."""
        connection = await self._connected()
        channel: AbstractChannel | None = None
        waiting: dict[str, int] = {}
        unconsumed = Counter(dict.fromkeys(self.with_consumer, 0))
        missing: list[str] = []
        depths: dict[str, QueueDepth] = {}
        try:
            for name, label in self._labels.items():
                if channel is None or channel.is_closed:
                    channel = Channel(connection, publisher_confirms=False)
                    await channel.initialize()
                try:
                    found = (await channel.declare_queue(name, passive=True)).declaration_result
                except aiormq.exceptions.ChannelNotFoundEntity:
                    missing.append(name)
                    continue
                depth = depths[name] = QueueDepth(found.message_count or 0, found.consumer_count or 0)
                waiting[label] = max(waiting.get(label, 0), depth.messages)
                if name in self._with_consumer and not depth.consumers:
                    unconsumed[label] += 1
        finally:
            if channel is not None and not channel.is_closed:
                await channel.close()
        return QueueStates(waiting, unconsumed, missing, depths)


def _label(queue: str) -> str:
    projector, _, lane = queue.rpartition(".")
    return f"{projector} {LANES}" if projector in topology.SUBSCRIBERS and lane.isdecimal() else queue


def _is_delay(queue: str) -> bool:
    """Whether it is a tier of retries: nothing consumes from it."""
    return any(
        queue == topology.retry_queue(name, tier) for name in topology.SUBSCRIBERS for tier, _ in topology.RETRY_TIERS
    )
