"""RabbitMQ: confirmed publishing, and the errors of broker operations.

    BrokerError
    ├── BrokerUnavailableError   the connection or channel was lost, or the deadline passed: the outcome is unknown
    ├── UnroutableError          no queue is bound for the message: it is not stored
    └── RefusedError             the broker answered with a nack (a full queue, …): it is not stored everywhere it should be

Consumers have connections of their own (``shared.messaging.consuming``): under a memory alarm RabbitMQ blocks publishing connections.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import (
    AMQPError,
    ChannelInvalidStateError,
    DeliveryError,
    ProbableAuthenticationError,
    PublishError,
)
from tenacity import AsyncRetrying, retry_if_exception_type, wait_random_exponential

from shared.messaging import topology
from shared.observability.connections import watch_broker
from shared.runtime.connecting.current_url import connected
from shared.runtime.reasons import reason
from shared.runtime.stalls import StallDetector

CONNECT_DEADLINE_S: Final = 10.0
PUBLISH_DEADLINE_S: Final = 30.0
REPORT_AFTER_S: Final = 3.0
"""A publish that is refused or unconfirmed for this long is reported."""
CLOSE_DEADLINE_S: Final = 2.0
HEARTBEAT_S: Final = 10
PUBLISH_BATCH: Final = 500
MAX_SHORT_STRING: Final = 255
"""Maximum bytes of a short string, such as a correlation id (AMQP 0-9-1 §4.2.5.3)."""


class BrokerError(Exception):
    """An operation on RabbitMQ failed."""


class BrokerUnavailableError(BrokerError):
    """The broker is unavailable or too slow: whether it stored the message is unknown, so publish it again."""


class UnroutableError(BrokerError):
    """No queue is bound for this exchange and routing key."""


class RefusedError(BrokerError):
    """The broker answered with a negative acknowledgement."""


def with_heartbeat(url: str, most_s: int = HEARTBEAT_S) -> str:
    """The URL with a heartbeat of at most ``most_s`` seconds, so that each side detects within three heartbeats that the other is frozen.

    Without one in the URL, RabbitMQ proposes 60 seconds: a frozen process would keep its deliveries for minutes.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    given = query.get("heartbeat", "")
    query["heartbeat"] = str(min(int(given), most_s) if given.isdecimal() and int(given) else most_s)
    return parts._replace(query=urlencode(query)).geturl()


async def connect(url: str, name: str | None = None) -> AbstractConnection:
    """A connection by the URL as its setting has it now (``connecting.current_url``). ``name``: as the broker shows it.

    Raises the driver's errors, which ``deadline`` makes BrokerErrors.
    """

    async def by(current: str) -> AbstractConnection:
        return await aio_pika.connect(
            with_heartbeat(current),
            timeout=CONNECT_DEADLINE_S,
            client_properties={"connection_name": name} if name else None,
        )

    return await connected(url, by, refuses_login)


def refuses_login(error: BaseException) -> bool:
    return isinstance(error, ProbableAuthenticationError)


def user_in(url: str) -> str:
    """The name of the user that connects by this URL; ``guest``, as clients assume, where it has none."""
    return unquote(urlsplit(url).username or "guest")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish. ``mandatory``: no bound queue is an error (UnroutableError). ``durable``: it survives a broker restart.

    A ``correlation_id`` longer than AMQP allows, such as a long command id in a non-Latin script, is omitted.
    """

    exchange: str
    routing_key: str
    body: bytes
    content_type: str
    type: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    mandatory: bool = True
    durable: bool = True


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Limit the duration of broker operations; every failure of them becomes a BrokerError.

    A dying connection raises CancelledError in its users although no task was cancelled: that is an outage too. It may also swallow
    the CancelledError of a task that was cancelled: it is raised here nevertheless.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0

    def called_off() -> bool:
        return task is not None and task.cancelling() > before

    try:
        async with asyncio.timeout(seconds):
            yield
    except asyncio.CancelledError as error:
        if task is not None and task.cancelling():
            raise
        raise BrokerUnavailableError("the connection died") from error
    except Exception as error:
        if called_off():
            raise asyncio.CancelledError from error
        known = _broker_error(error)
        if known is None:
            raise
        raise known from error
    else:
        if called_off():
            raise asyncio.CancelledError


def _broker_error(error: Exception) -> BrokerError | None:
    """The BrokerError for an error of a broker operation; None: the broker is not its cause."""
    if isinstance(error, PublishError):
        return UnroutableError(str(error)[:300])
    if isinstance(error, DeliveryError):
        return RefusedError("negative acknowledgement")
    if isinstance(error, AMQPError | ChannelInvalidStateError | OSError | TimeoutError | RuntimeError | ExceptionGroup):
        return BrokerUnavailableError(reason(error))
    if type(error) is Exception:  # raised by aiormq in tasks that wait on a channel while it is closed
        return BrokerUnavailableError("the channel was closed")
    return None


class Publisher:
    """Publishes over its own connection and channel, opened on first use and again after every failure.

    Every message names the connection's user (``user_id``), which the broker verifies.
    """

    def __init__(self, url: str, name: str, *, deadline_s: float = PUBLISH_DEADLINE_S) -> None:
        """``deadline_s``: after this time without a confirm, whether the message is stored is unknown."""
        self._url = url
        self._user = ""
        self._name = name
        self._deadline_s = deadline_s
        self._progress = StallDetector(stalled_after_s=REPORT_AFTER_S, failing_after_s=REPORT_AFTER_S)
        self._opening: asyncio.Task[AbstractChannel] | None = None
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._exchanges: dict[str, AbstractExchange] = {}
        self.label = f"{name} publisher"
        self.waiting = None
        watch_broker(self)

    @property
    def is_open(self) -> bool:
        return self._channel is not None and not self._channel.is_closed

    @property
    def trouble(self) -> str | None:
        """What ``publish_all`` cannot publish, for how long, and why; None while everything is confirmed in time."""
        return self._progress.trouble

    async def publish(self, message: Outgoing) -> None:
        """Return only when the broker has confirmed that it stored the message. Raises BrokerError otherwise.

        Concurrent calls are pipelined, and reach the broker in call order.
        """
        before = self._channel
        try:
            async with deadline(self._deadline_s):
                channel = before
                if channel is None or channel.is_closed:
                    channel = await self._open()
                exchange = self._exchanges.get(message.exchange)
                if exchange is None:
                    exchange = await self._exchange(channel, message.exchange)
                await exchange.publish(_to_wire(message, self._user), message.routing_key, mandatory=message.mandatory)
        except BrokerUnavailableError:
            if before is self._channel:  # a new one had less than the whole deadline: it may be well
                self._channel = None
            raise
        except UnroutableError as error:
            where = topology.destination(message.exchange, message.routing_key)
            raise UnroutableError(f"nothing is bound to take it, {where}: run `tidemark migrate`") from error
        except RefusedError as error:
            where = topology.destination(message.exchange, message.routing_key)
            raise RefusedError(f"refused by {where}: is a queue full?") from error

    async def publish_all(
        self,
        messages: Sequence[Outgoing],
        *,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """Return when all are confirmed; failures are retried without limit, with jittered back-off.

        Exceptions raised by ``sleep`` propagate: it is how to cancel during a pause. Giving up earlier would leave deliveries
        unacknowledged on an open channel: the broker would not redeliver them.
        """
        for start in range(0, len(messages), PUBLISH_BATCH):
            await self._publish_all(messages[start : start + PUBLISH_BATCH], sleep)

    async def _publish_all(self, messages: Sequence[Outgoing], sleep: Callable[[float], Awaitable[None]]) -> None:
        waiting = list(messages)
        with self._progress.step(f"publishing {len(waiting)} messages to RabbitMQ") as step:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(BrokerError),
                wait=wait_random_exponential(multiplier=0.1, max=3),
                sleep=sleep,
            ):
                with attempt:
                    done = await asyncio.gather(*map(self.publish, waiting), return_exceptions=True)
                    errors = [error for error in done if error is not None]
                    waiting = [message for message, error in zip(waiting, done, strict=True) if error is not None]
                    if errors:
                        step.failed(errors[0])
                        raise errors[0]

    async def connected(self) -> AbstractConnection:
        """The connection, for other operations; opened if necessary. Raises BrokerUnavailableError."""
        async with deadline(CONNECT_DEADLINE_S):
            await self._open()
        connection = self._connection
        if connection is None:
            raise BrokerUnavailableError("the connection was closed")
        return connection

    async def open(self) -> None:
        """Connect now rather than at the first publish. Raises BrokerUnavailableError."""
        async with deadline(CONNECT_DEADLINE_S):
            await self._open()

    async def close(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None and not opening.done():
            opening.cancel()
            await asyncio.wait([opening], timeout=CLOSE_DEADLINE_S)
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await _close(connection)

    async def _open(self) -> AbstractChannel:
        """The channel. All callers wait for the same attempt, which their deadlines do not end.

        Otherwise many callers, whose deadlines end one soon after another, would each break off the attempt of the one before.
        """
        if self._channel is not None and not self._channel.is_closed:
            return self._channel
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._connect())
            self._opening.add_done_callback(_retrieve)  # its callers may all have given up
        return await asyncio.shield(self._opening)

    async def _connect(self) -> AbstractChannel:
        """Raises BrokerUnavailableError within CONNECT_DEADLINE_S."""
        async with deadline(CONNECT_DEADLINE_S):
            await self._disconnect()
            self._connection = connection = await connect(self._url, f"{self._name} publisher")
            self._user = user_in(str(connection.url))  # type: ignore[attr-defined]
            self._exchanges = {}
            self._channel = channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            return channel

    async def _exchange(self, channel: AbstractChannel, name: str) -> AbstractExchange:
        exchange = await channel.get_exchange(name, ensure=False) if name else channel.default_exchange
        self._exchanges[name] = exchange
        return exchange


def _to_wire(message: Outgoing, user: str) -> aio_pika.Message:
    correlation_id = message.correlation_id
    if correlation_id and len(correlation_id.encode()) > MAX_SHORT_STRING:
        correlation_id = None
    return aio_pika.Message(
        message.body,
        content_type=message.content_type,
        type=message.type,
        correlation_id=correlation_id,
        reply_to=message.reply_to,
        headers=dict(message.headers),
        user_id=user,
        message_id=uuid4().hex,  # unique for each publish: confirms are matched by it
        timestamp=datetime.now(UTC),
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT if message.durable else aio_pika.DeliveryMode.NOT_PERSISTENT,
    )


def _retrieve(opening: asyncio.Task[AbstractChannel]) -> None:
    if not opening.cancelled():
        opening.exception()


async def _close(connection: AbstractConnection) -> None:
    with suppress(BrokerError):
        async with deadline(CLOSE_DEADLINE_S):
            await connection.close()
