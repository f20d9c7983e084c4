"""The common part of all routes that read from a projection.

A handler reads everything from the one store that ``request.read`` returns. If that generation is dropped meanwhile, the handler is
retried on the generation that is active then; the client does not notice.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from query_service.http.cached import Cached, Handler, answer_from_cache
from query_service.http.openapi import READ, READ_ONE, ReadOperation
from query_service.http.problems import GenerationGoneError

_NO_OTHERS: Final[Mapping[int, ResponseSpec]] = {}
MAX_ATTEMPTS: Final = 3
"""Operators switch generations; not more often than this within one request."""


def read_route(
    path: str,
    *,
    needs: str,
    one: bool = False,
    tags: list[str],
    summary: str,
    responses: Mapping[int, ResponseSpec] = _NO_OTHERS,
    cached: Cached | None = None,
) -> Callable[[Handler], HTTPRouteHandler]:
    """``get``, with the documented responses of every read from a projection; ``one``: including 404; ``responses``: the route's own.

    ``needs``: the scope that it is read with, ``queries:<context>``: by whose data it is, not by which read model has it.
    ``cached``: see ``http.cached``.
    """
    documented = {**(READ_ONE if one else READ), **responses}

    def decorate(handler: Handler) -> HTTPRouteHandler:
        route = get(path, needs=needs, responses=documented, operation_class=ReadOperation, tags=tags, summary=summary)
        return route(_retried_on_switch(handler if cached is None else _cached(handler, cached)))

    return decorate


def _cached(handler: Handler, cached: Cached) -> Handler:
    @functools.wraps(handler)
    async def answered(**given: Any) -> Response[Any]:
        return await answer_from_cache(cached, handler, given)

    return answered


def _retried_on_switch(handler: Handler) -> Handler:
    @functools.wraps(handler)
    async def retried(**given: Any) -> Response[Any]:
        for _ in range(MAX_ATTEMPTS - 1):
            try:
                return await handler(**given)
            except GenerationGoneError as gone:
                if not await given["request"].stores.moved_on_from(gone):
                    raise
        return await handler(**given)

    return retried
