"""The operators' key over HTTP: ``Authorization: Bearer <TIDEMARK_OPERATOR_KEY>``, compared in constant time.

Problem
├── 403 acts-are-off              the service has no key
└── 401 operator-key-required     no key, or a wrong one
"""

import hmac
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.openapi.spec import SecurityScheme

from shared.http.problems import Problem

KEY: Final = "operatorKey"

AnyConnection = ASGIConnection[Any, Any, Any, Any]


class OperatorKey:
    """The key of one service. ``what`` needs it, in words: ``operator actions``."""

    def __init__(self, key: str, service: str, what: str) -> None:
        self._key = key.encode()
        self._service = service
        self._what = what

    def is_given(self, connection: AnyConnection) -> bool:
        """Whether the request has the key. Raises Problem for a wrong key, which must not be treated like none."""
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        if not self._key:
            raise self._disabled()
        if not hmac.compare_digest(given.strip().encode("latin-1"), self._key):
            raise _unauthorized("this is not the operator's key")
        return True

    def require(self, connection: AnyConnection) -> None:
        """Raises Problem unless the request has the key."""
        if not self._key:
            raise self._disabled()
        if not self.is_given(connection):
            raise _unauthorized("this is for operators: Authorization: Bearer <the key in TIDEMARK_OPERATOR_KEY>")

    def _disabled(self) -> Problem:
        detail = f"{self._what} are disabled: the {self._service} has no TIDEMARK_OPERATOR_KEY; set it and restart the service"
        return Problem(detail, status=403, code="acts-are-off")


def key_scheme(service: str) -> SecurityScheme:
    """For the service's OpenAPI document, as ``KEY``."""
    return SecurityScheme(
        type="http", scheme="bearer", description=f"The operator's key: TIDEMARK_OPERATOR_KEY of the {service}."
    )


def _unauthorized(detail: str) -> Problem:
    headers = {"WWW-Authenticate": 'Bearer realm="tidemark operators"'}
    return Problem(detail, status=401, code="operator-key-required", headers=headers)
