"""Admission control between the server and an application: concurrent requests are limited, and bodies must arrive in time.

    connection ──▶ Admission ──free slot, else 503──▶ complete body ──▶ application
                                                        └── 408 if it is too slow, 503 if its slot is needed (shared.http.bodies)

There are fewer slots than connections, so that a request without a slot is refused at once, instead of waiting for its connection
to be accepted. Health checks need no slot: a server that is full is still alive.
"""

from ipaddress import IPv6Network
from typing import Any, Final

from litestar.types import Receive, Send

from shared.http.bodies import ClientGoneError, RequestBodies
from shared.http.identities.identity import IDENTITY, Identity
from shared.http.problems import MEDIA_TYPE, Problem, encode
from shared.messages.envelope import MAX_MESSAGE_BYTES

HEALTH_PREFIX: Final = "/health/"


class Admission:
    """An ASGI application that wraps another one."""

    def __init__(self, application: Any, slots: int, bodies: RequestBodies | None = None) -> None:
        self._application = application
        self._free_slots = slots
        self._bodies = bodies or RequestBodies()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"].startswith(HEALTH_PREFIX):
            await self._application(scope, receive, send)
        elif self._free_slots > 0 or self._bodies.evict_one():
            self._free_slots -= 1
            try:
                await self._admitted(scope, receive, send)
            finally:
                self._free_slots += 1
        else:
            detail = "the service has reached its limit of concurrent requests: send it again"
            problem = Problem(detail, status=503, code="overloaded", headers={"Retry-After": "1"})
            await refuse(scope, send, problem)

    async def _admitted(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope["headers"]):
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
            await self._application(scope, _prepend(message, receive), send)


def _has_body(headers: Any) -> bool:
    """Whether to wait for a body. Not for one that is too large: the application refuses it by its Content-Length."""
    for name, value in headers:
        if name == b"content-length":
            return value.isdigit() and 0 < int(value) <= MAX_MESSAGE_BYTES
        if name == b"transfer-encoding":
            return True
    return False


def _prepend(message: Any, receive: Receive) -> Receive:
    messages = [message]

    async def receive_next() -> Any:
        return messages.pop() if messages else await receive()

    return receive_next


def client_of(scope: Any) -> str:
    """The address of the peer; behind a proxy, the proxy's."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def sender_of(scope: Any) -> str:
    """Who is counted as one where a limit is for each: the identity; without one the client's address, of IPv6 its network of 64 bits."""
    identity: Identity | None = scope.get(IDENTITY)
    if identity is not None and not identity.is_anonymous:
        return f"identity {identity.subject}"
    address = client_of(scope)
    return f"address {network_of(address) if ':' in address else address}"


def network_of(address: str) -> str:
    """The network of 64 bits of an IPv6 address: one client has as many addresses there as it likes."""
    try:
        return str(IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


async def refuse(scope: Any, send: Any, problem: Problem) -> None:
    """Respond with the problem, over HTTP or to a WebSocket handshake, and close the connection."""
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
