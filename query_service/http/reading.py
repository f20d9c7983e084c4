"""Routes that are answered from a projection: what all of them have in common stands here once.

A handler reads everything from the one store that ``request.read`` gives it. Should that generation of the projection be
dropped under it, the handler runs again, on the one that is active then; whoever asked does not notice.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from query_service.http.openapi import READ, READ_ONE, ReadOperation
from query_service.http.problems import GenerationGoneError

Handler = Callable[..., Awaitable[Response[Any]]]

MAX_ATTEMPTS: Final = 3
"""Generations are switched by operators: more often than this within one request they are not."""


def read_route(path: str, *, one: bool = False, tags: list[str], summary: str) -> Callable[[Handler], HTTPRouteHandler]:
    """``get``, with what every answer from a projection may be; ``one``: it may also be that there is no such thing."""
    responses = READ_ONE if one else READ

    def decorate(handler: Handler) -> HTTPRouteHandler:
        route = get(path, responses=responses, operation_class=ReadOperation, tags=tags, summary=summary)
        return route(_retried_on_switch(handler))

    return decorate


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
