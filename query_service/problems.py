"""Every error is answered as RFC 9457 problem+json, and none of them tells what is inside.

    Problem                     a refusal this service words itself: status, code, what to do
    ├── InvalidParameterError   400: which parameter, and what it has to look like
    ├── NotFoundError           404: nothing of that id in the projection
    └── StoreDownError          503: a read store does not answer; Retry-After says when to come again
    litestar's HTTPException    404 and 405 of routes, 400 of parsed parameters: same shape
    anything else               500: logged here with its traceback, answered without a word of it

``type`` is ``urn:tidemark:problem:<code>``; codes are stable.
"""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 1

_log = logging.getLogger(__name__)
_READING: Final = {"Allow": "GET, HEAD, OPTIONS"}
_CODES: Final = {404: "no-such-route", 405: "method-not-allowed"}


class ParameterError(msgspec.Struct, frozen=True):
    """One parameter that cannot be answered for."""

    parameter: str
    detail: str


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong (RFC 9457)."""

    type: str
    """``urn:tidemark:problem:<code>``; the code is stable."""
    title: str
    status: int
    detail: str
    instance: str
    """The path that was asked for."""
    errors: list[ParameterError] | None = None


class Problem(Exception):
    """An answer other than the one asked for."""

    status: int = 500
    code: str = "internal-error"

    def __init__(
        self, detail: str, *, headers: Mapping[str, str] | None = None, errors: list[ParameterError] | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = errors


class InvalidParameterError(Problem):
    """A parameter is malformed, out of range, unknown or given twice."""

    status = 400
    code = "invalid-parameter"

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(f"{parameter}: {detail}", errors=[ParameterError(parameter, detail)])


class NotFoundError(Problem):
    """The projection that was read, as of the time in the headers, has nothing of that id."""

    status = 404

    def __init__(self, kind: str, id_: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"there is no {kind} {id_}, as of the time in Tidemark-As-Of", headers=headers)
        self.code = f"{kind}-not-found"


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


def on_problem(request: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    return _answer(request, problem.status, problem.code, problem.detail, problem.headers, problem.errors)


def on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework refuses: routes, methods, and parameters that do not parse."""
    if error.status_code >= 500:
        return on_unexpected(request, error)
    if isinstance(error, ValidationException):
        errors = [_parameter_error(extra) for extra in error.extra or [] if isinstance(extra, dict)]
        detail = "; ".join(f"{one.parameter}: {one.detail}" for one in errors) or _first_sentence(error.detail)
        return _answer(request, 400, InvalidParameterError.code, detail, {}, errors or None)
    code = _CODES.get(error.status_code, "request-refused")
    detail = {
        404: "there is nothing at this path; /schema lists what there is",
        405: f"{request.method} is not possible here; everything is read with GET",
    }.get(error.status_code, HTTPStatus(error.status_code).description)
    headers = _READING if error.status_code == 405 else error.headers or {}
    return _answer(request, error.status_code, code, detail, headers, None)


def on_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A fault of ours: the log has the traceback, the answer has nothing of it."""
    _log.error("unexpected error while answering %r", request.scope["path"], exc_info=error)
    return _answer(request, 500, Problem.code, "an error inside the query service; it has been logged", {}, None)


def _answer(
    request: Request[Any, Any, Any],
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str],
    errors: list[ParameterError] | None,
) -> Response[bytes]:
    document = ProblemDocument(
        type=f"urn:tidemark:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=_sendable(detail),
        instance=_sendable(request.scope["path"]),
        errors=[ParameterError(_sendable(one.parameter), _sendable(one.detail)) for one in errors] if errors else None,
    )
    headers = {"Cache-Control": "no-store", **headers}
    return Response(msgspec.json.encode(document), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _first_sentence(detail: str) -> str:
    """Of a framework's message about parameters; what follows names the URL again."""
    return re.sub(r" for (path|url) .*", "", detail, flags=re.DOTALL)


def _parameter_error(extra: Mapping[str, Any]) -> ParameterError:
    return ParameterError(str(extra.get("key", "?")), str(extra.get("message", "malformed")))


def _sendable(text: str) -> str:
    return text[:500].encode("utf-8", "replace").decode()
