"""What the query service refuses, in its own words; every other error is answered in the same form by ``shared.http.problems``.

Problem
├── InvalidParameterError   400: which parameter, and what it has to look like
├── NotFoundError           404: nothing of that id in the projection
└── StoreDownError          503: a read store does not answer; Retry-After says when to come again
    └── GenerationGoneError     what was read is not there, or not to be read any more: caught once, and read anew
"""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import MethodNotAllowedException

from shared.http.problems import FieldError, Problem, on_http_exception

RETRY_AFTER_S: Final = 1
READ_METHODS: Final = "GET, HEAD, OPTIONS"


class InvalidParameterError(Problem):
    """A parameter is malformed, out of range, unknown or given twice."""

    status = 400
    code = "invalid-parameter"

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(f"{parameter}: {detail}", errors=[FieldError(parameter, detail)])


class NotFoundError(Problem):
    """The projection that was read, as of the time in the headers, has nothing of that id."""

    def __init__(self, kind: str, id_: str, headers: Mapping[str, str], held: str | None = None) -> None:
        """``held``: why the projection holds the stream, so that there is something, but it cannot be shown yet."""
        detail = f"there is no {kind} {id_}, as of the time in Tidemark-As-Of"
        if held is not None:
            detail += f"; its first event is held in this view: {held}"
        super().__init__(detail, status=404, code=f"{kind}-not-found", headers=headers)


class StoreDownError(Problem):
    """A read store cannot be reached, refuses, or takes too long. ``reason`` is for whoever asks: no addresses."""

    status = 503
    code = "store-unavailable"

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(
            f"the {store} store is unavailable: {reason}; try again", headers={"Retry-After": str(RETRY_AFTER_S)}
        )
        self.store = store
        self.reason = reason


class GenerationGoneError(StoreDownError):
    """The generation that was being read has no tables (any more), or is not the active one any more."""

    def __init__(self, store: str, number: int) -> None:
        super().__init__(store, "its tables have not been created yet")
        self.number = number


def on_wrong_method(request: Request[Any, Any, Any], error: MethodNotAllowedException) -> Response[bytes]:
    """405, naming HEAD too where there is GET: the framework does not know that we answer it."""
    allowed = (error.headers or {}).get("allow", "")
    methods = [method.strip() for method in allowed.split(",")]
    others = [method for method in methods if method and method not in READ_METHODS]
    if "GET" in methods or not allowed:
        others.insert(0, READ_METHODS)
    elif "OPTIONS" in methods:
        others.append("OPTIONS")
    error.headers = {"Allow": ", ".join(others)}
    return on_http_exception(request, error)
