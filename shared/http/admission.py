"""What stands between the server and an application: a place for each request, and bodies that arrive in time.

    connection ──▶ Admission ──a place, else 503──▶ the body, whole ──▶ application
                                                        └── 408 where it is too slow, 503 where its place is needed (shared.http.bodies)

There are fewer places than connections, so that who finds none is told so at once, instead of waiting to be accepted.
Health is asked for without a place: a server that is full is alive.
"""

from typing import Any, Final

from litestar.types import Receive, Send

from shared.http.bodies import Bodies, ClientGoneError
from shared.http.problems import MEDIA_TYPE, Problem, encode
from shared.messages.envelope import MAX_MESSAGE_BYTES

HEALTH: Final = "/health/"


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
        if scope["type"] != "http" or not _comes_with_a_body(scope["headers"]):
            await self._application(scope, receive, send)
            return
        with self._bodies.incoming(client_of(scope)) as body:
            try:
                message = await body.read(receive)
            except ClientGoneError:
                return
            except Problem as problem:
                await refuse(scope, send, problem)
                return
            await self._application(scope, _beginning_with(message, receive), send)


def _comes_with_a_body(headers: Any) -> bool:
    """One larger than any may be is not waited for: the application refuses it by its announced length."""
    for name, value in headers:
        if name == b"content-length":
            return value.isdigit() and 0 < int(value) <= MAX_MESSAGE_BYTES
        if name == b"transfer-encoding":
            return True
    return False


def _beginning_with(message: Any, receive: Receive) -> Receive:
    messages = [message]

    async def receive_next() -> Any:
        return messages.pop() if messages else await receive()

    return receive_next


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
