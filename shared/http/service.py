"""What the HTTP services share as applications: path decoding, and documentation at ``/schema``."""

from typing import Any, Final
from urllib.parse import unquote

from litestar import Litestar, Response, Router
from litestar.datastructures import ResponseHeader
from litestar.datastructures.headers import Accept
from litestar.enums import MediaType, OpenAPIMediaType
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from shared.http.measuring import measured
from shared.http.schema_page.plugin import SECURITY_POLICY, PageRenderPlugin

SCHEMA: Final = "/schema"
_PAGE: Final = "/page"
_FORMS: Final = [OpenAPIMediaType.OPENAPI_JSON.value, MediaType.JSON.value, MediaType.HTML.value]
"""Media types of the documentation; a client that accepts any gets the first."""


class Service(Litestar):
    """Encoded slashes in paths stay encoded, and ``/schema`` is a page for clients that prefer HTML, JSON for all others.

    An encoded slash is part of its segment, not a separator (RFC 3986 §2.2). The server decodes the whole path before it is split, so
    that ``/orders/a%2Fb`` would have three segments, and no route; here the second segment stays ``a%2Fb``, and is refused like every
    other invalid id.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw = scope.get("raw_path") or b""
        if b"%2f" in raw.lower():
            kept = raw.decode("latin-1").replace("%2F", "%252F").replace("%2f", "%252f")
            scope = {**scope, "path": unquote(kept)}
        elif scope.get("path") in {SCHEMA, f"{SCHEMA}/"} and _wants_page(scope["headers"]):
            scope = {**scope, "path": SCHEMA + _PAGE}
        await measured(super().__call__, scope, receive, send)


def documentation(**settings: Any) -> OpenAPIConfig:
    """OpenAPI settings: the document as JSON at ``/schema/openapi.json``, and as JSON or a page at ``/schema``."""
    router = Router(
        SCHEMA,
        route_handlers=[],
        include_in_schema=False,
        after_request=_unknown_page,
        response_headers=[
            ResponseHeader(name="Vary", value="Accept"),
            ResponseHeader(name="Content-Security-Policy", value=SECURITY_POLICY),
        ],
    )
    return OpenAPIConfig(
        openapi_router=router,
        path=SCHEMA,
        render_plugins=[JsonRenderPlugin(path=["/", "/openapi.json"]), PageRenderPlugin(path=_PAGE)],
        use_handler_docstrings=True,
        **settings,
    )


def _wants_page(headers: Any) -> bool:
    accepted = b",".join(value for name, value in headers if name == b"accept")
    return bool(accepted) and Accept(accepted.decode("latin-1")).best_match(_FORMS) == MediaType.HTML.value


def _unknown_page(response: Response[Any]) -> Response[Any]:
    """Replace the framework's HTML page for unknown paths below /schema by a problem document."""
    if response.status_code == 404:
        raise NotFoundException
    return response
