"""Asking a deployable over ``control``, and waiting for its answer: for whoever acts on an operator's behalf.

The promise: an answer that is returned is the deployable's own, to this request. Without one the request is either with the broker, which
keeps it until somebody does it (``NoAnswerError``), or its fate is unknown (``BrokerError``). In both cases asking again with the same
request id is harmless: what was done is not done twice, and gets the same answer.
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

RETRY_AFTER_S: Final = 0.2
WATCH_EVERY_S: Final = 0.2

Answer = TypeVar("Answer")


class NoAnswerError(Exception):
    """The broker keeps the request, and nobody has answered it in time."""


async def ask(
    url: str,
    asked: Request[Any],
    routing_key: str,
    read: Callable[[bytes], Answer],
    *,
    seconds: float,
    whom: str,
) -> Answer:
    """The answer of ``whom``, as ``read`` makes it of its body, within ``seconds``. Raises NoAnswerError or BrokerError.

    What ``read`` finds no answer in (ValidationError) is not one. A broker that cannot be reached at the start is an error at once; one
    that goes away later has until the time is up to come back. Connections are made for this one question: operators act seldom.
    """
    correlation = uuid4().hex
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def received(body: bytes, correlation_id: str) -> None:
        if correlation_id != correlation or answer.done():
            return
        with contextlib.suppress(ValidationError):  # whoever guesses our queue's name cannot make us fail
            answer.set_result(read(body))

    kept = False
    trouble: BrokerUnavailableError | None = None
    publisher, replies = Publisher(url, "tidemark operator"), Replies(url, received, "tidemark operator")
    try:
        async with asyncio.timeout(seconds):
            await publisher.open()
            async with _running(replies):
                while not answer.done():
                    await replies.ready()
                    queue = replies.queue
                    try:
                        await publisher.publish(_message(asked, routing_key, correlation, queue))
                    except BrokerUnavailableError as error:
                        trouble = error
                        await asyncio.sleep(RETRY_AFTER_S)
                        continue
                    kept = True
                    while not answer.done() and replies.queue == queue:
                        await asyncio.wait([answer], timeout=WATCH_EVERY_S)
        return answer.result()
    except TimeoutError as error:
        if kept:
            raise NoAnswerError(f"no {whom} has answered within {seconds:g} s") from error
        raise trouble or replies.error or BrokerUnavailableError("no answer in time") from error
    finally:
        await publisher.close()


def _message(asked: Request[Any], routing_key: str, correlation: str, reply_to: str) -> Outgoing:
    return Outgoing(
        topology.CONTROL,
        routing_key,
        asked.model_dump_json().encode(),
        CONTENT_TYPE,
        type=asked.type,
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
