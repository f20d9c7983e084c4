"""The one guard of both HTTP services: a route is reached only by an identity with the scopes that are declared beside the route.

    request ──▶ needs of the route ──PUBLIC──▶ route
                     └──▶ authenticator ──401, 503──▶ problem
                              └──▶ identity ──lacks a scope: 403; too many requests: 429──▶ problem
                                       └──▶ route; ``identity_of(connection)``

A route declares what it needs with ``needs=`` in its decorator. One that declares nothing cannot be served: the service does not start.

Problem
├── UnauthorisedError        401: no credential, or none that is valid; never says what is wrong with it
├── ForbiddenError           403: the identity lacks a scope; says which
└── CredentialsUncheckedError  503: whether the credential is valid cannot be found out now
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from litestar import Litestar, Request, Response
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler

from shared.contracts.registry import COMMANDS
from shared.http.identities.identity import ANONYMOUS, IDENTITY, AnyConnection, Identity, identity_of
from shared.http.identities.scopes import described_scope
from shared.http.problems import Problem, on_problem
from shared.http.rate_limits import limit_rate

NEEDS: Final = "needs"
"""Key in a handler's ``opt``; ``@get("/orders", needs="queries:orders")``."""
AUTHENTICATOR: Final = "authenticator"
"""Key in the state of an application."""
REPORT_DENIAL: Final = "report_denial"
"""Key in the state of an application: what has refusals recorded; absent: nothing does."""
REFUSED: Final = "tidemark.refused"
"""Key in the scope of a WebSocket: the problem that answers its handshake."""
REALM: Final = "tidemark"


_NOT_QUOTABLE: Final = re.compile(r"[^ !#-\[\]-~]", re.ASCII)
"""What a ``scope`` in ``WWW-Authenticate`` may not contain (RFC 6750 §3)."""


class UnauthorisedError(Problem):
    status = 401
    code = "unauthorised"

    def __init__(self, *, given: bool) -> None:
        """``given``: whether there was a credential."""
        detail = (
            "this credential is not valid: it is unknown, revoked, expired, or not for this service"
            if given
            else "a credential is needed: Authorization: Bearer <an API key or a token>"
        )
        error = ', error="invalid_token"' if given else ""
        super().__init__(detail, headers={"WWW-Authenticate": f'Bearer realm="{REALM}"{error}'})


class ForbiddenError(Problem):
    status = 403
    code = "forbidden"

    def __init__(self, subject: str, missing: Sequence[str]) -> None:
        scopes = _NOT_QUOTABLE.sub("?", " ".join(missing))
        headers = {"WWW-Authenticate": f'Bearer realm="{REALM}", error="insufficient_scope", scope="{scopes}"'}
        detail = f"{subject} lacks the scope {', '.join(missing)}"
        super().__init__(detail, headers=headers, members={"scopes": list(missing)})
        self.missing = tuple(missing)


class CredentialsUncheckedError(Problem):
    status = 503
    code = "credentials-unchecked"

    def __init__(self) -> None:
        super().__init__("whether this credential is valid cannot be checked now", headers={"Retry-After": "2"})


@dataclass(frozen=True)
class Needs:
    """What a route needs that depends on the request: all of ``of(connection)``. ``described``: the same in words, for documentation."""

    of: Callable[[AnyConnection], Sequence[str]]
    described: str


PUBLIC: Final = Needs(lambda _: (), "nothing: public")
AUTHENTICATED: Final = Needs(lambda _: (), "any valid credential")


class ReportDenial(Protocol):
    def __call__(
        self, identity: str, action: str, code: str, *, scope: str | None = None, behind: str | None = None
    ) -> None:
        """Count one refusal; see ``shared.messaging.denials``. ``action``: a route, never what a client may make up."""
        ...


class Authenticator(Protocol):
    @property
    def trouble(self) -> str | None:
        """Why credentials cannot be checked, or only by what was known before; None: they can."""
        ...

    async def identify(self, connection: AnyConnection) -> Identity:
        """The identity of a connection. Raises UnauthorisedError, CredentialsUncheckedError."""
        ...


class AuthenticationOff:
    """``TIDEMARK_AUTH=off``: every request is anonymous, and may do everything."""

    trouble: str | None = None

    async def identify(self, _: AnyConnection) -> Identity:
        return ANONYMOUS


async def authorise(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """The first guard of an application. Raises UnauthorisedError, ForbiddenError, CredentialsUncheckedError, RateLimitedError."""
    needs = handler.opt.get(NEEDS, PUBLIC)  # the framework's own answer to OPTIONS declares nothing
    try:
        if needs == PUBLIC:
            limit_rate(connection)
        else:
            await _authorise(connection, needs)
    except Problem as problem:
        connection.scope[REFUSED] = problem  # type: ignore[typeddict-unknown-key]
        if connection.scope["type"] == ScopeType.WEBSOCKET:
            report(connection, problem)
        raise


async def _authorise(connection: AnyConnection, needs: str | Needs) -> None:
    try:
        identity = await _identify(connection)
    except UnauthorisedError:
        limit_rate(connection)  # of its address: who guesses is one of those without an identity
        raise
    connection.scope[IDENTITY] = identity  # type: ignore[typeddict-unknown-key]  # a key of our own
    limit_rate(connection)
    _require_needs(connection, identity, needs)


async def is_still_allowed(connection: AnyConnection) -> bool:
    """Whether a connection that was let through would be so now: its key may be revoked, its token expired. Neither counted nor reported.

    While that cannot be checked, it would.
    """
    needs = connection.route_handler.opt[NEEDS]
    try:
        _require_needs(connection, await _identify(connection), needs)
    except (UnauthorisedError, ForbiddenError):
        return False
    except CredentialsUncheckedError:
        return True
    return True


async def _identify(connection: AnyConnection) -> Identity:
    authenticator: Authenticator = connection.app.state[AUTHENTICATOR]
    return await authenticator.identify(connection)


def _require_needs(connection: AnyConnection, identity: Identity, needs: str | Needs) -> None:
    require(identity, (needs,) if isinstance(needs, str) else needs.of(connection))


def report(connection: AnyConnection, problem: Problem) -> None:
    """Have a refusal for lack of a credential or a scope recorded in the audit."""
    report_denial: ReportDenial | None = connection.app.state.get(REPORT_DENIAL)
    if report_denial is None or not isinstance(problem, UnauthorisedError | ForbiddenError):
        return
    identity = identity_of(connection)
    scope = " ".join(map(described_scope, problem.missing)) if isinstance(problem, ForbiddenError) else None
    report_denial(identity.subject, _action(connection), problem.code, scope=scope, behind=identity.behind)


def _action(connection: AnyConnection) -> str:
    """The route, without what the client has filled in; of a command that there is, with its type."""
    method = connection.scope.get("method", "WEBSOCKET")
    path = min(connection.route_handler.paths).replace(":str}", "}")
    command_type = connection.scope["path_params"].get("command_type")
    return f"{method} {path.replace('{command_type}', command_type) if command_type in COMMANDS else path}"


def on_denied(request: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    """The response to a request without the right to it, which is recorded."""
    report(request, problem)
    return on_problem(request, problem)


DENIAL_HANDLERS: Final[dict[Any, Any]] = {UnauthorisedError: on_denied, ForbiddenError: on_denied}


def require(identity: Identity, scopes: Iterable[str]) -> None:
    """Raises ForbiddenError unless the identity has all of these scopes."""
    missing = [scope for scope in scopes if not identity.may(scope)]
    if missing:
        raise ForbiddenError(identity.subject, missing)


class UndeclaredRouteError(RuntimeError):
    """A route does not declare which scope it needs."""


def require_declarations(app: Litestar) -> None:
    """Raises UndeclaredRouteError if a route declares no ``needs``."""
    for route in app.routes:
        for handler in _handlers(route):
            if NEEDS not in handler.opt and not _is_options(handler):
                raise UndeclaredRouteError(f"{route.path} does not declare which scope it needs: needs=…")


def _handlers(route: Any) -> Sequence[BaseRouteHandler]:
    return getattr(route, "route_handlers", None) or [route.route_handler]


def _is_options(handler: BaseRouteHandler) -> bool:
    """Whether the framework has made it, to answer with a path's methods."""
    return getattr(handler, "http_methods", None) == {"OPTIONS"}
