"""A request's body arrives in time, or the request is refused: nobody who sends slowly holds memory, or a place, for long.

    deadline = GRACE_S, and a second more for each LEAST_BYTES_S that have come, up to LONGEST_S in all

A byte a second ends after GRACE_S, a megabyte may take LONGEST_S. GRACE_S is up to SPREAD_S longer, evenly, so that thousands which began
together do not end together: others would wait until all of them have been answered.

What the bodies of all requests at hand take together is bounded by MOST_BYTES: beyond it, or where the server needs the place, one that is
still arriving is given up (503): of the client that is sending most of them the oldest. Bodies that are sent as fast as they can be are
gone long before it is their turn.

Problem
└── BodyNotReceivedError    the body has not come to its end; the connection is closed after the answer
    ├── SlowBodyError       408: the deadline has passed
    ├── BodyGivenUpError    503: the place was needed; Retry-After
    └── ClientGoneError     400, which the client does not read: it has left. No error of ours, and not logged as one
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from litestar.types import Receive, Send

from shared.contracts.envelope import MAX_MESSAGE_BYTES
from shared.problems import Problem

log: Final = logging.getLogger(__name__)

GRACE_S: Final = 5.0
SPREAD_S: Final = 5.0
STEPS: Final = 100
LEAST_BYTES_S: Final = 1024
LONGEST_S: Final = 30.0
MOST_BYTES: Final = 128 * 1024 * 1024
PIECE_BYTES: Final = 64 * 1024
"""Of a body that the application gets at once: those that come in little drops do not wake it for each."""

_DISCONNECT: Final = {"type": "http.disconnect"}


class BodyNotReceivedError(Problem):
    def __init__(self, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail, headers={"Connection": "close", **(headers or {})})


class SlowBodyError(BodyNotReceivedError):
    status = 408
    code = "body-too-slow"

    def __init__(self) -> None:
        super().__init__(
            f"the body did not arrive in time: {GRACE_S:g} s or a little more, and a second more for each {LEAST_BYTES_S} bytes,"
            f" {LONGEST_S:g} s at most"
        )


class BodyGivenUpError(BodyNotReceivedError):
    status = 503
    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("the service is busy with other requests: send it again", {"Retry-After": "1"})


class ClientGoneError(BodyNotReceivedError):
    status = 400
    code = "client-gone"

    def __init__(self) -> None:
        super().__init__("the client left before its request was complete")


class IncomingBody:
    """The body of one request: the application receives, and answers, through it."""

    def __init__(self, bodies: "Bodies", client: str, grace_s: float, receive: Receive, send: Send) -> None:
        self.client = client
        self.held = 0
        """Bytes of it that the application may have in memory."""
        self._size = 0
        self._bodies = bodies
        self._receive = receive
        self._send = send
        self._began = asyncio.get_running_loop().time()
        self._grace_s = grace_s
        self._waiting: asyncio.Timeout | None = None
        self._complete = self._given_up = self._answering = False

    async def send(self, message: Any) -> None:
        self._answering = True
        await self._send(message)

    async def receive(self) -> Any:
        """The next message. Raises BodyNotReceivedError; once the answer has begun, the client is just gone."""
        if self._complete:
            return await self._receive()
        try:
            body = await self._in_time()
        except BodyNotReceivedError:
            self._bodies.arrived(self)
            if self._answering:
                return _DISCONNECT
            raise
        return {"type": "http.request", "body": body, "more_body": not self._complete}

    def give_up(self) -> None:
        """Have ``receive`` raise BodyGivenUpError, at once if it waits now; what has come is let go."""
        self._given_up = True
        self.held = 0
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(self._began)

    async def _in_time(self) -> bytes:
        if self._given_up:
            raise BodyGivenUpError
        try:
            async with asyncio.timeout_at(self._deadline()) as self._waiting:
                return await self._piece(self._waiting)
        except TimeoutError:
            raise (BodyGivenUpError if self._given_up else SlowBodyError) from None
        finally:
            self._waiting = None

    async def _piece(self, waiting: asyncio.Timeout) -> bytes:
        piece = bytearray()
        while not self._complete and len(piece) < PIECE_BYTES:
            message: Any = await self._receive()
            if message["type"] != "http.request":
                log.debug("a client left before its request was complete")
                raise ClientGoneError
            drop = message.get("body", b"")
            piece += drop
            self._size += len(drop)
            self._bodies.hold(self, min(self._size, MAX_MESSAGE_BYTES))
            if self._given_up:
                raise BodyGivenUpError
            waiting.reschedule(self._deadline())
            self._complete = not message.get("more_body")
        if self._complete:
            self._bodies.arrived(self)
        return bytes(piece)

    def _deadline(self) -> float:
        return self._began + min(LONGEST_S, self._grace_s + self._size / LEAST_BYTES_S)


class Bodies:
    """The bodies of all requests at hand."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._left = most_bytes
        self._count = 0
        self._arriving: dict[str, dict[IncomingBody, None]] = {}
        """By client, the oldest first."""

    @contextmanager
    def incoming(self, client: str, receive: Receive, send: Send) -> Iterator[IncomingBody]:
        """One more, until its request has been answered."""
        self._count += 1
        body = IncomingBody(self, client, GRACE_S + self._count % STEPS / STEPS * SPREAD_S, receive, send)
        self._arriving.setdefault(client, {})[body] = None
        try:
            yield body
        finally:
            self.arrived(body)
            self._left += body.held

    def arrived(self, body: IncomingBody) -> None:
        """It needs no more time: it is complete, or given up."""
        own = self._arriving.get(body.client, {})
        own.pop(body, None)
        if not own:
            self._arriving.pop(body.client, None)

    def hold(self, body: IncomingBody, size: int) -> None:
        """So much of it is here now; others are given up for it, or in the end the body itself."""
        self._left -= size - body.held
        body.held = size
        while self._left < 0:
            if not self.give_one_up():
                self._give_up(body)

    def give_one_up(self) -> bool:
        """Whether there was one that is still arriving; its request is answered as soon as it is its turn."""
        if not self._arriving:
            return False
        client = max(self._arriving, key=lambda client: len(self._arriving[client]))
        body = next(iter(self._arriving[client]))
        self._give_up(body)
        return True

    def _give_up(self, body: IncomingBody) -> None:
        self.arrived(body)
        self._left += body.held
        body.give_up()
