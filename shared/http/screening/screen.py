"""What every request passes before anything is done for it, and what every response gets: the same for both HTTP services.

    connection ──▶ Screen ──▶ Admission ──▶ application
                     ├── 414, 431   the target or the head is too large
                     ├── 400, 421   ``Host`` is not one of the service's (hosts.py); health checks may use any
                     ├── 400        a header that says whose request it is, or what its body is, comes twice
                     ├── 403        a foreign page changes something, or opens a WebSocket (origins.py)
                     └── 204        the preflight request of a listed origin

Responses get the security headers that they do not have themselves; one without ``Cache-Control`` is for its client alone, and asked for
again each time. They never cost an ``ETag``.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from litestar.types import Receive, Send

from shared.http.admission import HEALTH_PREFIX, refuse
from shared.http.problems import Problem
from shared.http.screening.forwarded import TrustedProxies
from shared.http.screening.hosts import AllowedHosts
from shared.http.screening.origins import SAFE_METHODS, ForeignOriginError, Origins, preflight_headers

MAX_HEAD_BYTES: Final = 32 * 1024
"""Names and values of all headers."""
MAX_QUERY_BYTES: Final = 16 * 1024
MAX_PATH_BYTES: Final = 8 * 1024
HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"private, no-cache"),
)
_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})
ONCE: Final = frozenset({b"content-type", b"idempotency-key", b"tidemark-source", b"tidemark-actor"})
"""Given twice, a proxy may have read the one and we the other. ``Host`` and ``Authorization`` have rules of their own."""
_READ: Final = frozenset({b"host", b"origin", b"sec-fetch-site"}) | ONCE


class HeadTooLargeError(Problem):
    status = 431
    code = "headers-too-large"

    def __init__(self) -> None:
        super().__init__(f"all headers together may have {MAX_HEAD_BYTES} bytes")


class TargetTooLongError(Problem):
    status = 414
    code = "target-too-long"

    def __init__(self) -> None:
        super().__init__(f"a path may have {MAX_PATH_BYTES} bytes, and a query string {MAX_QUERY_BYTES}")


class DuplicateHeaderError(Problem):
    status = 400
    code = "duplicate-header"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is given more than once")


@dataclass(frozen=True)
class Screening:
    """What a screen lets through."""

    hosts: AllowedHosts = field(default_factory=AllowedHosts)
    origins: Origins = field(default_factory=Origins)
    proxies: TrustedProxies = field(default_factory=TrustedProxies)


class Screen:
    """An ASGI application that wraps another one."""

    def __init__(self, application: Any, screening: Screening) -> None:
        self._application = application
        self._hosts = screening.hosts
        self._origins = screening.origins
        self._proxies = screening.proxies

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        scope = self._proxies.resolve(scope)
        found, size = _headers(scope["headers"])
        origin = found[b"origin"][0].decode("latin-1") if b"origin" in found else None
        added = self._origins.headers(origin) if self._origins.any_listed else []

        async def respond(message: Any) -> None:
            await send(_with_headers(message, added) if message["type"] in _STARTS else message)

        try:
            self._check(scope, found, size, origin)
        except Problem as problem:
            await refuse(scope, respond, problem)
            return
        if added and scope["type"] == "http" and scope["method"] == "OPTIONS" and _is_preflight(scope["headers"]):
            await self._preflight(scope, respond, origin)
            return
        await self._application(scope, receive, respond)

    def _check(self, scope: Any, found: dict[bytes, list[bytes]], size: int, origin: str | None) -> None:
        """Raises Problem."""
        if size > MAX_HEAD_BYTES:
            raise HeadTooLargeError
        if len(scope["query_string"]) > MAX_QUERY_BYTES or len(scope["path"]) > MAX_PATH_BYTES:
            raise TargetTooLongError
        if scope["path"].startswith(HEALTH_PREFIX):
            return
        hosts = found.get(b"host", [])
        self._hosts.require(hosts)
        for name in ONCE & found.keys():
            if len(found[name]) > 1:
                raise DuplicateHeaderError(name.decode())
        if scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS:
            if len(found.get(b"origin", ())) > 1:
                raise ForeignOriginError
            sites = found.get(b"sec-fetch-site")
            self._origins.require(origin, hosts[0].decode("latin-1"), sites[0].decode("latin-1") if sites else None)

    async def _preflight(self, scope: Any, send: Send, origin: str | None) -> None:
        if origin is None or not self._origins.is_listed(origin):
            await refuse(scope, send, ForeignOriginError())
            return
        asked = [value for name, value in scope["headers"] if name == b"access-control-request-headers"]
        await send({"type": "http.response.start", "status": 204, "headers": preflight_headers(b", ".join(asked))})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _headers(headers: Any) -> tuple[dict[bytes, list[bytes]], int]:
    """The values of the headers in _READ, and the size of all headers."""
    found: dict[bytes, list[bytes]] = {}
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
        if name in _READ:
            found.setdefault(name, []).append(value)
    return found, size


def _is_preflight(headers: Any) -> bool:
    return any(name == b"access-control-request-method" for name, _ in headers)


def _with_headers(message: Any, added: list[tuple[bytes, bytes]]) -> Any:
    headers = list(message.get("headers", ()))
    names = {name.lower() for name, _ in headers}
    headers += [each for each in HEADERS if each[0] not in names]
    return {**message, "headers": headers + added}
