"""A request's body is here before the application is asked, or the request is refused: who sends slowly holds little, and not for long.

    deadline = GRACE_S, and a second more for each LEAST_BYTES_S that have come, up to LONGEST_S in all

A byte a second ends after GRACE_S, a megabyte may take LONGEST_S. GRACE_S is up to SPREAD_S longer, evenly, so that thousands which began
together do not end together: others would wait until all of them have been answered. One that is not here after PROMPT_S, and slower than
PROMPT_BYTES_S, is read at intervals of half its age, LONGEST_PAUSE_S at most, so that a thousand drops cost as little as a few.

What the bodies of all requests at hand take together is bounded by MOST_BYTES: beyond it, or where the server needs the place, one that is
still arriving is given up (503): of the client that is sending most of them the oldest. Bodies that are sent as fast as they can be are
gone long before it is their turn.

Problem
├── SlowBodyError       408: the deadline has passed
└── BodyGivenUpError    503: the place was needed; Retry-After
ClientGoneError         it has left before its body was complete: there is nobody to answer, and nothing to log
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from litestar.types import Receive

from shared.http.problems import Problem
from shared.messages.envelope import MAX_MESSAGE_BYTES

GRACE_S: Final = 5.0
SPREAD_S: Final = 5.0
STEPS: Final = 100
LEAST_BYTES_S: Final = 1024
LONGEST_S: Final = 30.0
PROMPT_S: Final = 0.5
PROMPT_BYTES_S: Final = 16 * 1024
LONGEST_PAUSE_S: Final = 2.0
MOST_BYTES: Final = 128 * 1024 * 1024


class SlowBodyError(Problem):
    status = 408
    code = "body-too-slow"

    def __init__(self) -> None:
        super().__init__(
            f"the body did not arrive in time: {GRACE_S:g} s or a little more, and a second more for each {LEAST_BYTES_S} bytes,"
            f" {LONGEST_S:g} s at most"
        )


class BodyGivenUpError(Problem):
    status = 503
    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("the service is busy with other requests: send it again", headers={"Retry-After": "1"})


class ClientGoneError(Exception):
    """Before its request was complete."""


class Body:
    """The body of one request: ``held`` bytes of it are in memory."""

    def __init__(self, bodies: "Bodies", client: str, grace_s: float) -> None:
        self.client = client
        self.held = 0
        self._bodies = bodies
        self._began = asyncio.get_running_loop().time()
        self._grace_s = grace_s
        self._waiting: asyncio.Timeout | None = None
        self._given_up = False

    async def read(self, receive: Receive) -> Any:
        """The whole as one message; of one that is larger than any may be, the beginning.

        Raises SlowBodyError, BodyGivenUpError, ClientGoneError.
        """
        body = bytearray()
        more = True
        try:
            async with asyncio.timeout_at(self._deadline()) as self._waiting:
                while more and len(body) <= MAX_MESSAGE_BYTES:
                    message: Any = await receive()
                    if message["type"] != "http.request":
                        raise ClientGoneError
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    self._bodies.hold(self, len(body))
                    if self._given_up:
                        raise BodyGivenUpError
                    self._waiting.reschedule(self._deadline())
                    if more and (pause := self._pause()):
                        await asyncio.sleep(pause)
        except TimeoutError:
            raise (BodyGivenUpError if self._given_up else SlowBodyError) from None
        finally:
            self._waiting = None
            self._bodies.arrived(self)
        return {"type": "http.request", "body": bytes(body), "more_body": more}

    def give_up(self) -> None:
        """Have ``read`` raise BodyGivenUpError, at once if it waits now."""
        self._given_up = True
        self.held = 0
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(self._began)

    def _pause(self) -> float:
        """What comes in drops is left to gather, the longer the slower it is: each drop wakes two threads."""
        elapsed = asyncio.get_running_loop().time() - self._began
        slow = elapsed > PROMPT_S and self.held < elapsed * PROMPT_BYTES_S
        return min(elapsed / 2, LONGEST_PAUSE_S) if slow else 0.0

    def _deadline(self) -> float:
        return self._began + min(LONGEST_S, self._grace_s + self.held / LEAST_BYTES_S)


class Bodies:
    """The bodies of all requests at hand."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._left = most_bytes
        self._count = 0
        self._arriving: dict[str, dict[Body, None]] = {}
        """By client, the oldest first."""

    @contextmanager
    def incoming(self, client: str) -> Iterator[Body]:
        """One more, until its request has been answered."""
        self._count += 1
        body = Body(self, client, GRACE_S + self._count % STEPS / STEPS * SPREAD_S)
        self._arriving.setdefault(client, {})[body] = None
        try:
            yield body
        finally:
            self.arrived(body)
            self._left += body.held

    def arrived(self, body: Body) -> None:
        """It needs no more time: it is here, or will not be."""
        own = self._arriving.get(body.client, {})
        own.pop(body, None)
        if not own:
            self._arriving.pop(body.client, None)

    def hold(self, body: Body, size: int) -> None:
        """So much of it is here now; others that are arriving are given up for it, or in the end it is."""
        self._left -= size - body.held
        body.held = size
        while self._left < 0 and self.give_one_up():
            pass

    def give_one_up(self) -> bool:
        """Whether there was one that is still arriving; its request is answered as soon as it is its turn."""
        if not self._arriving:
            return False
        client = max(self._arriving, key=lambda client: len(self._arriving[client]))
        body = next(iter(self._arriving[client]))
        self.arrived(body)
        self._left += body.held
        body.give_up()
        return True
