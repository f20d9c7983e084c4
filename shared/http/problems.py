"""Every HTTP error is answered as RFC 9457 problem+json, without internal details.

    Problem                     an error that a service words itself: status, code, advice
    litestar's HTTPException    routes, methods, media types, sizes, malformed parameters: the same shape
    anything else               500: logged here with its traceback; the response has no details

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

from shared.http.parameter_errors import describe_parameter_error

MEDIA_TYPE: Final = "application/problem+json"

log: Final = logging.getLogger(__name__)

_CODES: Final = {
    400: "invalid-request",
    404: "no-such-route",
    405: "method-not-allowed",
    413: "message-too-large",
    415: "unsupported-media-type",
}


class FieldError(msgspec.Struct, frozen=True):
    """One field or parameter that cannot be accepted."""

    field: str
    message: str


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong (RFC 9457)."""

    type: str
    """``urn:tidemark:problem:<code>``."""
    title: str
    status: int
    detail: str
    instance: str
    """The request path."""
    code: str
    """Stable, kebab-case: for programs."""
    errors: list[FieldError] | None = None


class Problem(Exception):
    """A response other than the requested one."""

    status: int = 500
    code: str = "internal-error"

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        errors: list[FieldError] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        """``members``: additional members of the document (RFC 9457 §3.2)."""
        super().__init__(detail)
        self.detail = detail
        self.status = status or self.status
        self.code = code or self.code
        self.headers = dict(headers or {})
        self.errors = errors
        self.members = dict(members or {})


def on_problem(request: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    headers = {"Cache-Control": "no-store", **problem.headers}
    body = encode(request.scope["path"], problem)
    return Response(body, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """An error raised by the framework."""
    if error.status_code >= 500:
        return on_unexpected(request, error)
    if isinstance(error, ValidationException):
        errors = [
            FieldError(
                *describe_parameter_error(request, str(extra.get("key", "?")), str(extra.get("message", "malformed")))
            )
            for extra in error.extra or []
            if isinstance(extra, dict)
        ]
        detail = "; ".join(f"{one.field}: {one.message}" for one in errors) or _first_sentence(error.detail)
        return on_problem(request, Problem(detail, status=400, code="invalid-parameter", errors=errors or None))
    detail = {
        404: "there is nothing at this path; /schema lists what there is",
        405: f"{request.method} is not possible here; /schema lists what is",
    }.get(error.status_code, HTTPStatus(error.status_code).description or HTTPStatus(error.status_code).phrase)
    code = _CODES.get(error.status_code, "request-refused")
    return on_problem(request, Problem(detail, status=error.status_code, code=code, headers=error.headers))


def on_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """An internal error: the log has the traceback, the response no details."""
    log.error("unexpected error while answering %r", request.scope["path"], exc_info=error)
    return on_problem(request, Problem("an error inside the service; it has been logged"))


EXCEPTION_HANDLERS: Final[dict[Any, Any]] = {
    Problem: on_problem,
    HTTPException: on_http_exception,
    Exception: on_unexpected,
}


def encode(path: str, problem: Problem) -> bytes:
    """The problem document of a request for that path."""
    errors = [FieldError(_sendable(one.field), _sendable(one.message)) for one in problem.errors or ()]
    document = ProblemDocument(
        type=f"urn:tidemark:problem:{problem.code}",
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=_sendable(problem.detail),
        instance=_sendable(path),
        code=problem.code,
        errors=errors or None,
    )
    return msgspec.json.encode({**msgspec.to_builtins(document), **problem.members} if problem.members else document)


def _first_sentence(detail: str) -> str:
    """The first sentence of the framework's message about parameters; the rest repeats the URL."""
    return re.sub(r" for (path|url) .*", "", detail, flags=re.DOTALL)


def _sendable(text: str) -> str:
    return text[:500].encode("utf-8", "replace").decode()
