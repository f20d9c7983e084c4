"""Requests to a deployable over ``control``, and its replies: for clients that act for an operator.

A reply that is returned is the deployable's own, to this request. Without one the request is either stored by the broker until it is
processed (``NoReplyError``), or its fate is unknown (``BrokerError``). In both cases repeating it with the same request id is harmless:
it is not executed twice, and gets the same reply.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar
from uuid import uuid4

from pydantic import ValidationError

from shared.messages.control import Request
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import BrokerUnavailableError, Outgoing, Publisher
from shared.messaging.replies import Replies

RETRY_S: Final = 0.2
WATCH_EVERY_S: Final = 0.2

Reply = TypeVar("Reply")


class NoReplyError(Exception):
    """The broker stores the request, but no reply arrived in time."""


async def send_request(
    url: str,
    request: Request[Any],
    routing_key: str,
    parse: Callable[[bytes], Reply],
    *,
    seconds: float,
    recipient: str,
) -> Reply:
    """The reply of ``recipient``, parsed by ``parse``, within ``seconds``. Raises NoReplyError or BrokerError.

    Bodies for which ``parse`` raises ValidationError are ignored. A broker that is unavailable at the start is an error at once; one
    that becomes unavailable later may recover within ``seconds``. Connections are made for this request alone: operators act rarely.
    """
    correlation = uuid4().hex
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def received(body: bytes, correlation_id: str) -> None:
        if correlation_id != correlation or reply.done():
            return
        with contextlib.suppress(
            ValidationError
        ):  # a message from someone who guessed the queue's name must not cause an error
            reply.set_result(parse(body))

    kept = False
    trouble: BrokerUnavailableError | None = None
    publisher, replies = Publisher(url, "tidemark operator"), Replies(url, received, "tidemark operator", requests=True)
    try:
        async with asyncio.timeout(seconds):
            await publisher.open()
            async with _running(replies):
                while not reply.done():
                    await replies.ready()
                    queue = replies.queue
                    try:
                        await publisher.publish(_message(request, routing_key, correlation, queue))
                    except BrokerUnavailableError as error:
                        trouble = error
                        await asyncio.sleep(RETRY_S)
                        continue
                    kept = True
                    while not reply.done() and replies.queue == queue:
                        await asyncio.wait([reply], timeout=WATCH_EVERY_S)
        return reply.result()
    except TimeoutError as error:
        if kept:
            raise NoReplyError(f"no {recipient} has answered within {seconds:g} s") from error
        raise trouble or replies.error or BrokerUnavailableError("no answer in time") from error
    finally:
        await publisher.close()


def _message(request: Request[Any], routing_key: str, correlation: str, reply_to: str) -> Outgoing:
    return Outgoing(
        topology.CONTROL,
        routing_key,
        request.model_dump_json().encode(),
        CONTENT_TYPE,
        type=request.type,
        correlation_id=correlation,
        reply_to=reply_to,
    )


@contextlib.asynccontextmanager
async def _running(replies: Replies) -> AsyncIterator[None]:
    receiving = asyncio.create_task(replies.run())
    try:
        yield
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
