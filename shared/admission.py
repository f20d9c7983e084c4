"""What stands between the server and an application: a place for each request, and bodies that arrive in time.

    connection ──▶ Admission ──a place, else 503──▶ application
                       └── the body, through shared.bodies: 408 where it is too slow; given up (503) where its place is needed

There are fewer places than connections, so that who finds none is told so at once, instead of waiting to be accepted.
Health is asked for without a place: a server that is full is alive.
"""

from typing import Any, Final

from litestar.types import Receive, Send

from shared.bodies import Bodies
from shared.problems import MEDIA_TYPE, Problem, encode

HEALTH: Final = "/health/"
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class Admission:
    """An ASGI application around another."""

    def __init__(self, application: Any, places: int, bodies: Bodies | None = None) -> None:
        self._application = application
        self._free = places
        self._bodies = bodies or Bodies()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"].startswith(HEALTH):
            await self._application(scope, receive, send)
        elif self._free > 0 or self._bodies.give_one_up():
            self._free -= 1
            try:
                await self._admitted(scope, receive, send)
            finally:
                self._free += 1
        else:
            detail = "as many requests as this service can take are at hand: send it again"
            problem = Problem(detail, status=503, code="overloaded", headers={"Retry-After": "1"})
            await refuse(scope, send, problem)

    async def _admitted(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and any(name in _FRAMING for name, _ in scope["headers"]):
            with self._bodies.incoming(client_of(scope), receive, send) as body:
                await self._application(scope, body.receive, body.send)
        else:
            await self._application(scope, receive, send)


def client_of(scope: Any) -> str:
    """The address of the peer: of the proxy, where there is one before us."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def refuse(scope: Any, send: Any, problem: Problem) -> None:
    """Answer with the problem, over HTTP or to a WebSocket's handshake, and close the connection."""
    prefix = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Cache-Control": "no-store",
        "Connection": "close",
        **problem.headers,
    }
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": f"{prefix}.start", "status": problem.status, "headers": encoded})
    await send({"type": f"{prefix}.body", "body": encode(scope["path"], problem), "more_body": False})
