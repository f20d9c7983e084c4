"""The answer to OPTIONS: all methods of a path, also where several routes share it, which the framework does not say."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Final

from litestar import Response
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

_PARAMETER: Final = re.compile(r"{[^}]*}")


def options_handlers(handlers: Iterable[Any], *, head: bool) -> list[HTTPRouteHandler]:
    """A handler for each path of these that has none. Paths that differ in their parameters' names alone are one.

    ``head``: whether GET implies HEAD.
    """
    methods: dict[str, set[str]] = defaultdict(set)
    paths: dict[str, set[str]] = defaultdict(set)
    for handler in handlers:
        if isinstance(handler, HTTPRouteHandler):
            for path in handler.paths:
                shape = _PARAMETER.sub("{}", path)
                methods[shape] |= {str(method) for method in handler.http_methods}
                if head and "GET" in methods[shape]:
                    methods[shape].add("HEAD")
                paths[shape].add(path)
    return [_answering(paths[shape], found) for shape, found in methods.items() if "OPTIONS" not in found]


def _answering(paths: Collection[str], methods: Collection[str]) -> HTTPRouteHandler:
    allowed = ", ".join([*sorted(methods), "OPTIONS"])

    def options() -> Response[None]:
        return Response(None, status_code=204, headers={"Allow": allowed})

    made = HTTPRouteHandler(
        sorted(paths), http_method=[HttpMethod.OPTIONS], status_code=204, include_in_schema=False, sync_to_thread=False
    )
    return made(options)
