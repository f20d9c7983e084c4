"""The query service answers queries from the read stores only, and writes nothing itself.

Operators' actions on dead letters (``routes.operator_actions``) are sent to the dead-letter worker over RabbitMQ.
"""

import functools
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType
from typing import Any, Final, assert_never

from litestar import Litestar
from litestar.datastructures import ResponseHeader, State
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import BaseRouteHandler
from litestar.types import Message, Send

from query_service import routes
from query_service.consistency.as_of import HEADER
from query_service.http.console_files import ConsoleFiles
from query_service.http.documents import StoredDocument
from query_service.http.openapi import schema_plugins
from query_service.http.operators import Operators
from query_service.http.parameters import validate_http_request
from query_service.http.problems import on_wrong_method
from query_service.http.requests import HEAD, QueryRequest, Stores
from query_service.live.listener_limits import SLOTS, Listeners
from query_service.sign_in import SignIn
from query_service.stores.answer_cache import CAPACITY, AnswerCache
from query_service.stores.operations_store import OperationsStore
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.http.identities.guard import (
    AUTHENTICATOR,
    DENIAL_HANDLERS,
    REPORT_DENIAL,
    AuthenticationOff,
    Authenticator,
    ReportDenial,
    authorise,
)
from shared.http.json_bodies import require_json
from shared.http.problems import EXCEPTION_HANDLERS
from shared.http.rate_limits import RATE_LIMITS, RateLimits
from shared.http.service import Service, documentation
from shared.processes import PROCESSES
from shared.read_models import READ_MODELS, ReadModel, StoreKind
from shared.runtime.settings import LONGEST_WAIT_S, Settings


def _modules() -> Iterator[ModuleType]:
    """Every module in ``query_service/routes`` and its folders."""
    for module in sorted(walk_packages(routes.__path__, f"{routes.__name__}."), key=lambda found: found.name):
        if not module.ispkg:
            yield import_module(module.name)


def _routes() -> Iterator[BaseRouteHandler]:
    for module in _modules():
        yield from module.ROUTES


def _stored() -> Mapping[tuple[str, str], StoredDocument]:
    """Read model and kind of stream → what it keeps for one; of those that say so."""
    return {each: found for module in _modules() for each, found in getattr(module, "STORED", {}).items()}


_DESCRIPTION: Final = """\
Answers from Tidemark's read models. Money is in minor units of its currency, times are RFC 3339 in UTC.

Every response read from a projection states in `Tidemark-As-Of` how current that projection is: everything committed
before that time is included. To read your own write, send `Tidemark-Consistency: orders/<id>@<version>`, taken from the
command's outcome, and `Prefer: wait=SECONDS`: the response includes that write, or is a 412 that states why it does not. A write to
a kind of stream that the projection does not read (analytics reads orders and products) is not waited for: it changes nothing there.
Answers that are costly to read are kept for a short time, at most 10 s, with the `Tidemark-As-Of` of when they were read; a request with
`Tidemark-Consistency` is always read afresh.

Responses have an `ETag`; send `If-None-Match` to get 304 while nothing has changed. Lists are paged: to get the next page,
send `next_cursor` as `cursor` with the same filters. Errors are problem+json (RFC 9457). Unknown parameters are refused,
because a misspelt filter would give a wrong result.

Every route needs a credential, `Authorization: Bearer ...`, with the scope that the route names; `Tidemark-Actor` may name the person whom
it acts for.
"""
_AS_OF: Final = "RFC 3339: everything committed before this time is included. Absent before the first heartbeat."
_ETAG: Final = "Changes whenever the response does; send it as `If-None-Match`."


def create_app(
    stores: Stores,
    operators: Operators | None = None,
    *,
    longest_wait_s: int = LONGEST_WAIT_S,
    currency: str = "",
    listeners: Listeners | None = None,
    authenticator: Authenticator | None = None,
    limits: RateLimits | None = None,
    report_denial: ReportDenial | None = None,
    console: ConsoleFiles | None = None,
    sign_in: SignIn | None = None,
) -> Litestar:
    """The application over ``stores``, which it closes at shutdown. Without ``operators``, none can be carried out.

    ``authenticator``: whose requests they are; without one, as with ``TIDEMARK_AUTH=off``. ``report_denial``: has refusals recorded.
    ``limits``: of requests of one identity; default: none.
    ``console``: the console's page; default: there is none. ``sign_in``: with an OpenID provider; default: with API keys only.
    ``currency``: the default currency of analytics queries; empty: the currency of the first order seen.
    """

    @asynccontextmanager
    async def closing(_: Litestar) -> AsyncIterator[None]:
        yield
        await stores.close()

    state = State(
        {
            "stores": stores,
            "operators": operators or Operators(),
            "longest_wait_s": longest_wait_s,
            "currency": currency,
            "listeners": listeners or Listeners(),
            AUTHENTICATOR: authenticator or AuthenticationOff(),
            RATE_LIMITS: limits,
            REPORT_DENIAL: report_denial,
            "console": console,
            "sign_in": sign_in,
            "stored_documents": _stored(),
        }
    )
    return QueryService(
        route_handlers=list(_routes()),
        request_class=QueryRequest,
        plugins=schema_plugins(),
        guards=[authorise, validate_http_request, require_json],
        exception_handlers={**EXCEPTION_HANDLERS, **DENIAL_HANDLERS, MethodNotAllowedException: on_wrong_method},
        state=state,
        lifespan=[closing],
        response_headers=[
            # The values are never sent: they declare in the documentation that these are strings.
            ResponseHeader(name=HEADER, value="", documentation_only=True, description=_AS_OF),
            ResponseHeader(name="ETag", value="", documentation_only=True, description=_ETAG),
        ],
        openapi_config=documentation(
            title="Tidemark query service",
            version="1",
            description=_DESCRIPTION,
        ),
        logging_config=None,
        debug=False,
    )


def open_stores(settings: Settings) -> Stores:
    """The stores named in the settings, not connected yet. Raises MissingSettingError."""
    return Stores(
        *(_store(model, settings.store_url(model.name)) for model in READ_MODELS),
        operations=OperationsStore(settings.require("operations_db_url") if settings.operations_db_url else ""),
        process_managers=[PostgresStore(each.name, settings.processes_url(), each.folder) for each in PROCESSES],
        answers=AnswerCache(CAPACITY if settings.cache else 0),
    )


def _store(model: ReadModel, url: str) -> PostgresStore | RedisStore:
    match model.store:
        case StoreKind.POSTGRES:
            return PostgresStore(model.name, url, model.name)
        case StoreKind.REDIS:
            return RedisStore(model.name, url, model.name)
        case unknown:
            assert_never(unknown)


class QueryService(Service):
    """Answers HEAD like GET, without the body (RFC 9110 §9.3.2). A WebSocket counts as a listener from its handshake on."""

    schema_alias = "/schema/queries"
    head = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            # Not in the handler: the framework keeps state of a refused handshake, which would keep the connection open.
            with ExitStack() as slots:
                await super().__call__({**scope, SLOTS: slots}, receive, send)
        elif scope["type"] == "http" and scope["method"] == "HEAD":
            as_get: Any = {**scope, "method": "GET", HEAD: True}
            await super().__call__(as_get, receive, functools.partial(_without_body, send))
        else:
            await super().__call__(scope, receive, send)


async def _without_body(send: Send, message: Message) -> None:
    await send({**message, "body": b""} if message["type"] == "http.response.body" else message)
