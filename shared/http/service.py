"""What the HTTP services share as applications: path decoding, and documentation at ``/schema``."""

from typing import Any, ClassVar, Final, Self
from urllib.parse import unquote

from litestar import Litestar, Response, Router
from litestar.datastructures import ResponseHeader
from litestar.datastructures.headers import Accept
from litestar.enums import MediaType, OpenAPIMediaType
from litestar.exceptions import NotFoundException, WebSocketDisconnect
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from shared.http.admission import refuse
from shared.http.identities.guard import NEEDS, PUBLIC, REFUSED, require_declarations
from shared.http.identities.openapi import SECURITY, document_needs
from shared.http.measuring import measured
from shared.http.options import options_handlers
from shared.http.problems import Problem
from shared.http.schema_page.plugin import ADDRESS, SECURITY_POLICY, PageRenderPlugin
from shared.http.screening.openapi import document_refusals

SCHEMA: Final = "/schema"
_PAGE: Final = "/page"
_FORMS: Final = [OpenAPIMediaType.OPENAPI_JSON.value, MediaType.JSON.value, MediaType.HTML.value]
"""Media types of the documentation; a client that accepts any gets the first."""


class Service(Litestar):
    """Every route declares which scope it needs (``shared.http.identities.guard``), or the application cannot be made.

    Encoded slashes in paths stay encoded, and ``/schema`` is a page for clients that prefer HTML, JSON for all others.

    The documentation is also below ``schema_alias``: where several services share a port, it tells them apart.

    An encoded slash is part of its segment, not a separator (RFC 3986 §2.2). The server decodes the whole path before it is split, so
    that ``/orders/a%2Fb`` would have three segments, and no route; here the second segment stays ``a%2Fb``, and is refused like every
    other invalid id.
    """

    schema_alias: ClassVar[str] = SCHEMA
    head: ClassVar[bool] = False
    """Whether it answers HEAD wherever it answers GET."""

    def __init__(self, **settings: Any) -> None:
        """Raises UndeclaredRouteError."""
        handlers = list(settings.pop("route_handlers", None) or ())
        document_refusals(handlers)
        document_needs(handlers)
        super().__init__(route_handlers=[*options_handlers(handlers, head=self.head), *handlers], **settings)
        require_declarations(self)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path") or ""
        if path.startswith(self.schema_alias) and path.removeprefix(self.schema_alias)[:1] in {"", "/"}:
            scope = {**scope, "path": SCHEMA + path.removeprefix(self.schema_alias), ADDRESS: self.schema_alias}
        raw = scope.get("raw_path") or b""
        if b"%2f" in raw.lower():
            kept = raw.decode("latin-1").replace("%2F", "%252F").replace("%2f", "%252f")
            scope = {**scope, "path": unquote(kept)}
        elif scope.get("path") in {SCHEMA, f"{SCHEMA}/"} and _wants_page(scope["headers"]):
            scope = {**scope, "path": SCHEMA + _PAGE}
        if scope["type"] != "websocket":
            await measured(super().__call__, scope, receive, send)
            return
        with _Lent(receive) as receiving, _Lent(_refusing_handshakes(scope, send)) as sending:
            await super().__call__(scope, receiving, sending)


class _Lent:
    """A function of the server, for the time of one call of the application.

    The server closes the connection of a refused handshake when nothing refers to its functions any more, and the framework's WebSockets
    refer to themselves: without this, such a connection would stay open until the garbage collector runs.
    """

    def __init__(self, function: Any) -> None:
        self._function = function

    async def __call__(self, *arguments: Any) -> Any:
        if self._function is None:
            raise WebSocketDisconnect(detail="the connection has ended")
        return await self._function(*arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._function = None


def documentation(**settings: Any) -> OpenAPIConfig:
    """OpenAPI settings: the document as JSON at ``/schema/openapi.json``, and as JSON or a page at ``/schema``."""
    router = Router(
        SCHEMA,
        route_handlers=[],
        include_in_schema=False,
        opt={NEEDS: PUBLIC},
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
        components=SECURITY,
        operation_id_creator=lambda handler, _method, _path: handler.handler_name,
        **settings,
    )


def _refusing_handshakes(scope: Any, send: Any) -> Any:
    """A problem that a guard raises is the answer to a WebSocket's handshake; the framework would close the connection without it."""

    async def send_or_refuse(message: Any) -> None:
        problem = scope.get(REFUSED)
        if message["type"] == "websocket.close" and isinstance(problem, Problem):
            await refuse(scope, send, problem)
        else:
            await send(message)

    return send_or_refuse


def _wants_page(headers: Any) -> bool:
    accepted = b",".join(value for name, value in headers if name == b"accept")
    return bool(accepted) and Accept(accepted.decode("latin-1")).best_match(_FORMS) == MediaType.HTML.value


def _unknown_page(response: Response[Any]) -> Response[Any]:
    """Replace the framework's HTML page for unknown paths below /schema by a problem document."""
    if response.status_code == 404:
        raise NotFoundException
    return response
