"""The query service's own errors. ``shared.http.problems`` formats all other errors in the same way.

Problem
├── InvalidParameterError   400: which parameter, and its required form
├── NotFoundError           404: the projection has no object with that id
├── RebuildRequiredError    503: rows that older code has written lack what is asked for, until the projection is rebuilt
└── StoreDownError          503: a read store does not answer; Retry-After states when to retry
    └── GenerationGoneError     the generation has been dropped or is no longer active: the request is retried on the active one
"""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import MethodNotAllowedException

from shared.http.problems import Problem, on_http_exception
from shared.http.query_string import InvalidParameterError as InvalidParameterError

RETRY_AFTER_S: Final = 1
READ_METHODS: Final = "GET, HEAD, OPTIONS"


class NotFoundError(Problem):
    """The projection has no object with that id, as of the time in the headers."""

    def __init__(self, kind: str, id_: str, headers: Mapping[str, str], held: str | None = None) -> None:
        """``held``: why the projection holds the stream; the object exists then, but cannot be shown yet."""
        detail = f"there is no {kind} {id_}, as of the time in Tidemark-As-Of"
        if held is not None:
            detail += f"; its first event is held in this view: {held}"
        super().__init__(detail, status=404, code=f"{kind}-not-found", headers=headers)


class RebuildRequiredError(Problem):
    """After an update, rows of the active generation lack what the query needs; an answer would be wrong."""

    status = 503
    code = "rebuild-required"

    def __init__(self, projection: str, lacking: str) -> None:
        super().__init__(
            f"the {projection} projection has {lacking}, written before the last update; an operator has to rebuild it:"
            f" tidemark projections rebuild {projection}, then activate"
        )


class StoreDownError(Problem):
    """A read store cannot be reached, refuses, or takes too long. ``reason`` is shown to clients, so it names no addresses."""

    status = 503
    code = "store-unavailable"

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(
            f"the {store} store is unavailable: {reason}; try again", headers={"Retry-After": str(RETRY_AFTER_S)}
        )
        self.store = store
        self.reason = reason


class GenerationGoneError(StoreDownError):
    """The generation that was being read has no tables, or is no longer the active one."""

    def __init__(self, store: str, number: int) -> None:
        super().__init__(store, "its tables have not been created yet")
        self.number = number


def on_wrong_method(request: Request[Any, Any, Any], error: MethodNotAllowedException) -> Response[bytes]:
    """405, with HEAD in ``Allow`` wherever GET is: the framework does not know that the service answers HEAD."""
    allowed = (error.headers or {}).get("allow", "")
    methods = [method.strip() for method in allowed.split(",")]
    others = [method for method in methods if method and method not in READ_METHODS]
    if "GET" in methods or not allowed:
        others.insert(0, READ_METHODS)
    elif "OPTIONS" in methods:
        others.append("OPTIONS")
    error.headers = {"Allow": ", ".join(others)}
    return on_http_exception(request, error)
