"""How the OpenAPI document shows who may use a route: the credential, its scope, and the answers without them, from ``needs`` alone."""

from collections.abc import Iterable
from typing import Any, Final

from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import Components, SecurityScheme

from shared.http.identities.guard import NEEDS, PUBLIC, Needs
from shared.http.screening.openapi import problem_response

CREDENTIAL: Final = "credential"
SECURITY: Final = Components(
    security_schemes={
        CREDENTIAL: SecurityScheme(
            type="http",
            scheme="bearer",
            description="An API key (`tidemark keys create`), or an access token (JWT) of the configured issuer. Each route names the scope"
            " that it needs. Not needed while `TIDEMARK_AUTH=off`.",
        )
    }
)


def document_needs(handlers: Iterable[Any]) -> None:
    """Add to each route the credential that it needs, and its answers without one. Safe to repeat."""
    for handler in handlers:
        needs = handler.opt.get(NEEDS, PUBLIC) if isinstance(handler, HTTPRouteHandler) else PUBLIC
        if needs == PUBLIC:
            continue
        described = needs if isinstance(needs, str) else needs.described
        handler.security = [{CREDENTIAL: [needs] if isinstance(needs, str) else []}]
        handler.responses = {
            **(handler.responses or {}),
            401: problem_response(
                "No credential, or none that is valid.", 401, "unauthorised", "a credential is needed"
            ),
            403: problem_response(
                f"The credential lacks what this route needs: {described}.", 403, "forbidden", _lacks(needs)
            ),
        }


def _lacks(needs: str | Needs) -> str:
    return f"shop lacks the scope {needs if isinstance(needs, str) else 'queries:orders'}"
