"""Request bodies: a body is complete before the application is called, or the request is refused; slow senders hold little, briefly.

    deadline = GRACE_S, and one second more for each LEAST_BYTES_S received, up to LONGEST_S in all

One byte a second is refused after GRACE_S; a megabyte may take LONGEST_S. GRACE_S is extended by up to SPREAD_S, evenly distributed, so
that thousands of requests that began together do not end together: others would wait until all of them are answered. A body that is
incomplete after PROMPT_S and slower than PROMPT_BYTES_S is read at intervals of half its age, at most LONGEST_PAUSE_S, so that a
thousand small chunks cost as little as a few.

The memory of all bodies is bounded by MAX_BYTES. Beyond it, or where the server needs the slot, one that is still arriving is evicted
(503): the oldest of the client that is sending the most. Bodies sent at normal speed are complete long before they could be evicted.

Problem
├── SlowBodyError       408: the deadline has passed
└── BodyEvictedError    503: its slot or memory was needed; Retry-After
ClientGoneError         the client disconnected before its body was complete: no response, nothing to log
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
MAX_BYTES: Final = 128 * 1024 * 1024


class SlowBodyError(Problem):
    status = 408
    code = "body-too-slow"

    def __init__(self) -> None:
        super().__init__(
            f"the body did not arrive in time: {GRACE_S:g} s or a little more, and a second more for each {LEAST_BYTES_S} bytes,"
            f" {LONGEST_S:g} s at most"
        )


class BodyEvictedError(Problem):
    status = 503
    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("the service is busy with other requests: send it again", headers={"Retry-After": "1"})


class ClientGoneError(Exception):
    """The client disconnected before its request was complete."""


class RequestBody:
    """The body of one request; ``held``: its bytes in memory."""

    def __init__(self, bodies: "RequestBodies", client: str, grace_s: float) -> None:
        self.client = client
        self.held = 0
        self._bodies = bodies
        self._began = asyncio.get_running_loop().time()
        self._grace_s = grace_s
        self._waiting: asyncio.Timeout | None = None
        self._evicted = False

    async def read(self, receive: Receive) -> Any:
        """The whole body as one message; of one that exceeds the size limit, the beginning.

        Raises SlowBodyError, BodyEvictedError, ClientGoneError.
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
                    if self._evicted:
                        raise BodyEvictedError
                    self._waiting.reschedule(self._deadline())
                    if more and (pause := self._pause()):
                        await asyncio.sleep(pause)
        except TimeoutError:
            raise (BodyEvictedError if self._evicted else SlowBodyError) from None
        finally:
            self._waiting = None
            self._bodies.arrived(self)
        return {"type": "http.request", "body": bytes(body), "more_body": more}

    def evict(self) -> None:
        """Make ``read`` raise BodyEvictedError, at once if it is waiting."""
        self._evicted = True
        self.held = 0
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(self._began)

    def _pause(self) -> float:
        """Seconds to wait before the next read, so that small chunks accumulate: each read wakes two threads."""
        elapsed = asyncio.get_running_loop().time() - self._began
        slow = elapsed > PROMPT_S and self.held < elapsed * PROMPT_BYTES_S
        return min(elapsed / 2, LONGEST_PAUSE_S) if slow else 0.0

    def _deadline(self) -> float:
        return self._began + min(LONGEST_S, self._grace_s + self.held / LEAST_BYTES_S)


class RequestBodies:
    """The bodies of all current requests."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._left = max_bytes
        self._count = 0
        self._arriving: dict[str, dict[RequestBody, None]] = {}
        """By client, the oldest first."""

    @contextmanager
    def incoming(self, client: str) -> Iterator[RequestBody]:
        """Register one more body, until its request is answered."""
        self._count += 1
        body = RequestBody(self, client, GRACE_S + self._count % STEPS / STEPS * SPREAD_S)
        self._arriving.setdefault(client, {})[body] = None
        try:
            yield body
        finally:
            self.arrived(body)
            self._left += body.held

    def arrived(self, body: RequestBody) -> None:
        """Mark it as no longer arriving: it is complete, or failed."""
        own = self._arriving.get(body.client, {})
        own.pop(body, None)
        if not own:
            self._arriving.pop(body.client, None)

    def hold(self, body: RequestBody, size: int) -> None:
        """Record its size in memory; evict bodies, if necessary this one, while the limit is exceeded."""
        self._left -= size - body.held
        body.held = size
        while self._left < 0 and self.evict_one():
            pass

    def evict_one(self) -> bool:
        """Evict a body that is still arriving, if there is one, and return whether there was; its request is answered soon."""
        if not self._arriving:
            return False
        client = max(self._arriving, key=lambda client: len(self._arriving[client]))
        body = next(iter(self._arriving[client]))
        self.arrived(body)
        self._left += body.held
        body.evict()
        return True
