"""A guard for every route: a misspelt ``notbefore`` or ``expectedversion`` is refused; ignored, it would decide another command."""

from collections.abc import Callable
from functools import cache
from typing import Any, get_type_hints

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from shared.http.identities.guard import NEEDS
from shared.http.query_string import check_query


async def refuse_unknown_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Raises InvalidParameterError. The framework's own answer to OPTIONS takes no parameters, and refuses none."""
    query = connection.scope["query_string"]
    if query and NEEDS in handler.opt:
        check_query(query, _query_parameters(handler.fn), frozenset())


@cache
def _query_parameters(function: Callable[..., Any]) -> frozenset[str]:
    """The query parameters that a handler takes, by their names in URLs."""
    return frozenset(
        part.name or name
        for name, annotation in get_type_hints(function, include_extras=True).items()
        for part in getattr(annotation, "__metadata__", ())
        if isinstance(part, QueryParameter)
    )
