"""A private, exclusive queue for replies and change messages, declared again under a new name whenever the connection is lost.

The broker deletes the queue and its content with the connection. A client that waits for a reply repeats its request with the new name,
which ``queue`` has. A listener to change messages has missed some, and is notified through ``changed``.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from shared.messaging import amqp_properties, topology
from shared.messaging.broker import (
    CLOSE_DEADLINE_S,
    CONNECT_DEADLINE_S,
    BrokerError,
    connect,
    deadline,
)
from shared.observability.connections import watch_broker
from shared.runtime.reasons import reason
from shared.runtime.stalls import StallDetector

log: Final = logging.getLogger(__name__)

WATCH_EVERY_S: Final = 0.5
CHECK_EVERY_S: Final = 2.0
SILENT_AFTER_S: Final = 3.0
CHECK_DEADLINE_S: Final = 30.0
"""A connection on which a check gets no response for this long is replaced."""
MAX_PAUSE_S: Final = 3.0

Received = Callable[[bytes, str], None]
"""Called with a reply's body and correlation id."""
MAX_BYTES: Final = 64 * 1024 * 1024
"""Maximum size of the queue; the oldest messages are dropped first."""


class Replies:
    """Receives the replies to this process's requests, over its own connection. ``run`` keeps it connected until cancelled."""

    def __init__(
        self,
        url: str,
        received: Received,
        name: str,
        *,
        bindings: Sequence[tuple[str, str]] = (),
        requests: bool = False,
        changed: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """``bindings``: exchange and routing key of further messages to receive. ``requests``: replies to requests on ``control`` are
        received, too. ``changed``: called when receiving begins or ends."""
        amqp_properties.tolerate()
        self._bindings = bindings
        self._requests = requests
        self._changed = changed
        self._url = url
        self._received = received
        self._name = name
        self._ready = asyncio.Event()
        self.queue = ""
        """The current queue for ``reply_to``; empty while there is no connection."""
        self.error: BrokerError | None = None
        """The last error."""
        self._progress = StallDetector(stalled_after_s=SILENT_AFTER_S)
        self.label = f"{name} replies"
        self.waiting = None
        watch_broker(self)

    @property
    def is_open(self) -> bool:
        return bool(self.queue)

    @property
    def trouble(self) -> str | None:
        """Why nothing can be received: there is no connection, or the broker does not respond over it."""
        if silent := self._progress.trouble:
            return silent
        if self.queue:
            return None
        return "RabbitMQ cannot be reached: " + (reason(self.error) if self.error else "not connected yet")

    async def ready(self) -> None:
        """Return when there is a queue."""
        await self._ready.wait()

    async def run(self) -> None:
        failures = 0
        while True:
            connection: AbstractConnection | None = None
            try:
                async with deadline(CONNECT_DEADLINE_S):
                    connection = await connect(self._url, f"{self._name} replies")
                failures = 0
                await self._receive(connection)
            except BrokerError as error:
                self.error = error
                failures += 1
                log.debug("%s has no place for answers: %s", self._name, reason(error))
            finally:
                if self.queue:
                    self.queue = ""
                    self._ready.clear()
                    self._changed(False)
                await _close(connection)
            await asyncio.sleep(_pause(failures))

    async def _receive(self, connection: AbstractConnection) -> None:
        """Return when the connection, the channel or the queue is lost. Raises BrokerUnavailableError."""
        lost = asyncio.Event()

        def on_close(*_: object) -> None:
            lost.set()

        async with deadline(CONNECT_DEADLINE_S):
            channel = await connection.channel(publisher_confirms=False)
            connection.close_callbacks.add(on_close)
            channel.close_callbacks.add(on_close)
            bounds: dict[str, Any] = {"x-max-length-bytes": MAX_BYTES}
            queue = await channel.declare_queue(exclusive=True, auto_delete=True, arguments=bounds)
            for exchange, key in self._bindings:
                await queue.bind(exchange, key)
            if self._requests:
                await queue.bind(topology.REPLIES, queue.name)
            await queue.consume(self._take, no_ack=True)
            consumers: dict[str, Any] = (await channel.get_underlay_channel()).consumers  # type: ignore[attr-defined]
        self.queue = queue.name
        self._ready.set()
        self._changed(True)
        checked_at = time.monotonic()
        while not lost.is_set() and not connection.is_closed and consumers:
            try:
                async with asyncio.timeout(WATCH_EVERY_S):
                    await lost.wait()
            except TimeoutError:
                if time.monotonic() - checked_at >= CHECK_EVERY_S:
                    with self._progress.step("RabbitMQ does not answer"):
                        async with deadline(CHECK_DEADLINE_S):
                            await channel.declare_queue(queue.name, passive=True)
                    checked_at = time.monotonic()

    async def _take(self, message: AbstractIncomingMessage) -> None:
        self._received(message.body, message.correlation_id or "")


def _pause(failures: int) -> float:
    """Jittered exponential back-off, so that clients of a lost broker do not all reconnect at the same time."""
    return random.uniform(0, min(MAX_PAUSE_S, 0.1 * 2 ** min(failures, 10)))  # noqa: S311 - spreads load, hides nothing


async def _close(connection: AbstractConnection | None) -> None:
    if connection is None:
        return
    try:
        async with deadline(CLOSE_DEADLINE_S):
            await connection.close()
    except BrokerError as error:
        log.info("a connection was left to close by itself: %s", error)
