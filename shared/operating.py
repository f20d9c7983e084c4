"""Asking the dead-letter worker over ``control``, and waiting for its answer: for whoever acts on an operator's behalf.

The promise: an answer that is returned is the worker's own, to this request. Without one the request is either with the broker, which keeps
it until a worker does it (``NoAnswerError``), or its fate is unknown (``BrokerError``). In both cases asking again with the same
request id is harmless: what was done is not done twice, and gets the same answer.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from pydantic import ValidationError

from shared import topology
from shared.broker import BrokerUnavailableError, Outgoing, Publisher
from shared.contracts.control import DISCARD, EDIT, REPLAY, STEER, Discard, Edit, Replay, Request, Steer
from shared.contracts.envelope import CONTENT_TYPE
from shared.replies import Replies
from shared.views.operations import Done, OperationAnswer, Refused

Act = Replay | Discard | Edit | Steer

SHAPES: Final[dict[type[Act], tuple[str, type[Request[Any]]]]] = {
    Replay: (REPLAY, Request[Replay]),
    Discard: (DISCARD, Request[Discard]),
    Edit: (EDIT, Request[Edit]),
    Steer: (STEER, Request[Steer]),
}
RETRY_AFTER_S: Final = 0.2
WATCH_EVERY_S: Final = 0.2


class NoAnswerError(Exception):
    """The broker keeps the request, and no worker has answered it in time."""


def request(act: Act, *, source: str, request_id: str | None = None) -> Request[Any]:
    """The envelope. Raises ValidationError for an id or a source that no request may have."""
    kind, shape = SHAPES[type(act)]
    own = str(uuid4()) if request_id is None else request_id
    return shape(id=own, source=source, type=kind, time=datetime.now(UTC), data=act)


async def ask(url: str, asked: Request[Any], *, seconds: float) -> Done | Refused:
    """The worker's answer, within ``seconds``. Raises NoAnswerError or BrokerError.

    A broker that cannot be reached at the start is an error at once; one that goes away later has until the time is up to come back.
    Connections are made for this one question: operators act seldom.
    """
    correlation = uuid4().hex
    answer: asyncio.Future[Done | Refused] = asyncio.get_running_loop().create_future()

    def received(body: bytes, correlation_id: str) -> None:
        if correlation_id != correlation or answer.done():
            return
        with contextlib.suppress(ValidationError):  # whoever guesses our queue's name cannot make us fail
            answer.set_result(OperationAnswer.model_validate_json(body).data)

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
                        await publisher.publish(_message(asked, correlation, queue))
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
            raise NoAnswerError(f"no dead-letter worker has answered within {seconds:g} s") from error
        raise trouble or replies.trouble or BrokerUnavailableError("no answer in time") from error
    finally:
        await publisher.close()


def _message(asked: Request[Any], correlation: str, reply_to: str) -> Outgoing:
    return Outgoing(
        topology.CONTROL,
        asked.type.removeprefix("control."),
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
