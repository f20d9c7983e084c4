"""A path reaches the routes as it was sent: an encoded slash is part of its segment, never the end of it (RFC 3986 §2.2).

The server decodes the whole path before it is taken apart, so that ``/orders/a%2Fb`` would be a path of three segments, with no route.
Here the segment stays ``a%2Fb``, which no id can be, and is refused as every other id that cannot be.
"""

from typing import Any
from urllib.parse import unquote

from litestar import Litestar


class Service(Litestar):
    """A Litestar application whose routes see encoded slashes."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw = scope.get("raw_path") or b""
        if b"%2f" in raw.lower():
            kept = raw.decode("latin-1").replace("%2F", "%252F").replace("%2f", "%252f")
            scope = {**scope, "path": unquote(kept)}
        await super().__call__(scope, receive, send)
