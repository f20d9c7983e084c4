"""Requests that a browser makes for a page of another origin: refused where they change something, unless the origin is listed (CSRF).

A browser says in ``Origin`` for which page it asks; other clients send none. A page of the same host and port is always allowed. One
that is listed in ``TIDEMARK_CORS_ORIGINS`` may also read the answers (https://fetch.spec.whatwg.org/#http-cors-protocol). No answer allows
credentials that browsers add by themselves: none are used here.
"""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from shared.http.problems import Problem
from shared.http.screening.hosts import split_authority

DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS: Final = b"GET, HEAD, POST, PATCH, DELETE, OPTIONS"
EXPOSED: Final = b"ETag, Location, Retry-After, Preference-Applied, Idempotency-Key, Tidemark-As-Of, Tidemark-Consistency, X-Request-Id"
PREFLIGHT_AGE_S: Final = 600


class ForeignOriginError(Problem):
    """403: a page of another origin must not do this."""

    status = 403
    code = "origin-not-allowed"

    def __init__(self) -> None:
        super().__init__(
            "a page of another origin must not do this here; TIDEMARK_CORS_ORIGINS lists the origins that may"
        )


def origins(text: str) -> frozenset[str]:
    """The origins in a setting, separated by commas: ``https://shop.example.org``. Raises ValueError."""
    found = frozenset(origin.strip().lower() for origin in text.split(",") if origin.strip())
    for origin in found:
        parts = urlsplit(origin)
        if parts.scheme not in DEFAULT_PORTS or origin != f"{parts.scheme}://{parts.netloc}":
            raise ValueError(f"{origin!r} is not an origin: https://HOST or https://HOST:PORT, nothing after it")
        split_authority(parts.netloc)
    return found


class Origins:
    """Decides about origins. ``listed``: those that may do and read what this service's own pages may."""

    def __init__(self, listed: Collection[str] = ()) -> None:
        self._listed = frozenset(listed)

    @property
    def any_listed(self) -> bool:
        return bool(self._listed)

    def is_listed(self, origin: str) -> bool:
        return origin.lower() in self._listed

    def require(self, origin: str | None, host: str, fetch_site: str | None) -> None:
        """Raises ForeignOriginError. ``origin``: None if there is none; ``fetch_site``: ``Sec-Fetch-Site``, sent by newer browsers."""
        if origin is None:
            if fetch_site in {"cross-site", "same-site"}:
                raise ForeignOriginError
        elif not (is_same(origin, host) or self.is_listed(origin)):
            raise ForeignOriginError

    def headers(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        """What a response to a page of that origin says. None if no origin is listed: then it does not depend on the origin."""
        if not self._listed:
            return []
        vary = [(b"vary", b"Origin")]
        if origin is None or not self.is_listed(origin):
            return vary
        return [
            *vary,
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", EXPOSED),
        ]


def preflight_headers(requested: bytes) -> list[tuple[bytes, bytes]]:
    """Of the answer to a preflight request of a listed origin. ``requested``: the headers that it wants to send."""
    allowed = [(b"access-control-allow-headers", requested)] if requested else []
    return [
        *allowed,
        (b"access-control-allow-methods", METHODS),
        (b"access-control-max-age", str(PREFLIGHT_AGE_S).encode()),
    ]


def is_same(origin: str, host: str) -> bool:
    """Whether the page is of the host that is asked; a port that is missing is the one of the origin's scheme."""
    scheme, separator, authority = origin.partition("://")
    if not separator or scheme.lower() not in DEFAULT_PORTS:
        return False
    default = DEFAULT_PORTS[scheme.lower()]
    try:
        (name, port), (own, own_port) = split_authority(authority), split_authority(host)
    except ValueError:
        return False
    return name == own and (port or default) == (own_port or default)
