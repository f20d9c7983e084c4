"""Authenticates operators over HTTP and sends their requests to the dead-letter worker.

Every action requires the operator key (``shared.http.operator_key``). The key proves that the sender is an operator;
``Tidemark-Actor`` states which one, and is recorded in the audit.

    Problem
    ├── 403 acts-are-off              the service has no key
    ├── 401 operator-key-required     no key, or a wrong one
    ├── 400 invalid-parameter         a header is missing or malformed
    ├── 503 broker-unavailable        RabbitMQ is unavailable: whether it has the request is unknown
    └── 504 no-answer                 the broker keeps the request; the worker has not replied
"""

import asyncio
from typing import Final
from uuid import uuid4

from litestar.handlers import BaseRouteHandler
from pydantic import TypeAdapter, ValidationError

from query_service.http.problems import InvalidParameterError
from shared.contracts.values import Actor
from shared.http.operator_key import AnyConnection, OperatorKey
from shared.http.problems import FieldError, Problem
from shared.messaging.broker import BrokerError, UnroutableError
from shared.messaging.control_client import NoReplyError
from shared.messaging.operations_client import Act, request, send_request
from shared.views.operations import Done, Refused

SOURCE: Final = "tidemark/query"
ACTOR: Final = "Tidemark-Actor"
REQUEST_ID: Final = "Idempotency-Key"
ANSWER_TIMEOUT_S: Final = 10.0
MAX_CONCURRENT: Final = 8

_STATUS_OF_CODE: Final = {
    "validation-failed": 422,
    "not-a-command": 422,
    "not-editable": 422,
    "request-id-reused": 422,
    "letter-not-found": 404,
    "job-not-found": 404,
    "internal-error": 502,
}
"""HTTP statuses of the worker's refusal codes. All others are conflicts with the current state: 409."""

_LABEL: Final[TypeAdapter[str]] = TypeAdapter(Actor)


class Operators:
    """The operator key of one application, and a client of the broker that takes operators' requests."""

    def __init__(self, key: str = "", rabbitmq_url: str = "") -> None:
        self._key = OperatorKey(key, "query service", "operator actions")
        self._url = rabbitmq_url
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    def is_authenticated(self, connection: AnyConnection) -> bool:
        """Whether the request has the operator key. Raises Problem for a wrong key, which must not be treated like none."""
        return self._key.is_given(connection)

    def require_key(self, connection: AnyConnection) -> None:
        """Raises Problem unless the request has the operator key."""
        self._key.require(connection)

    async def ask(self, act: Act, request_id: str) -> Done:
        """The result of the action. Raises Problem, with the worker's own code if it refuses."""
        if not self._url:
            raise _no_broker("TIDEMARK_RABBITMQ_URL is not set", request_id)
        try:
            async with self._slots:
                message = request(act, source=SOURCE, request_id=request_id)
                result = await send_request(self._url, message, seconds=ANSWER_TIMEOUT_S)
        except NoReplyError as error:
            detail = f"{error}; the broker keeps the request: ask again with the same {REQUEST_ID} for what came of it"
            headers = {REQUEST_ID: _header_text(request_id), "Retry-After": "10"}
            raise Problem(detail, status=504, code="no-answer", headers=headers) from error
        except UnroutableError as error:
            raise _no_broker("the broker has no queue for operators' requests yet", request_id) from error
        except BrokerError as error:
            raise _no_broker("the broker cannot be reached", request_id) from error
        if isinstance(result, Refused):
            errors = [FieldError(str(one.get("field", "?")), str(one.get("message", ""))) for one in result.errors]
            status = _STATUS_OF_CODE.get(result.code, 409)
            raise Problem(result.message, status=status, code=result.code, errors=errors or None)
        return result


def operators_only(connection: AnyConnection, _: BaseRouteHandler) -> None:
    """A guard: the key is checked before anything else of the request."""
    operators: Operators = connection.app.state.operators
    operators.require_key(connection)


def actor(connection: AnyConnection) -> str:
    """The operator's name. Raises InvalidParameterError."""
    name = _header(connection, ACTOR)
    if name is None:
        raise InvalidParameterError(ACTOR, "is required: the operator's name for the audit, 1 to 200 characters")
    return name


def request_id(connection: AnyConnection) -> str:
    """The sender's id of the request, or a new one. Raises InvalidParameterError."""
    return _header(connection, REQUEST_ID) or str(uuid4())


def response_headers(request_id: str) -> dict[str, str]:
    return {REQUEST_ID: _header_text(request_id), "Cache-Control": "no-store"}


def _header(connection: AnyConnection, name: str) -> str | None:
    given = connection.headers.get(name.lower())
    if given is None:
        return None
    try:
        text = given.encode("latin-1").decode()
    except UnicodeError as error:
        raise InvalidParameterError(name, "must be UTF-8") from error
    try:
        return _LABEL.validate_python(text.strip())
    except ValidationError as error:
        raise InvalidParameterError(name, "must be 1 to 200 characters, and no NUL") from error


def _header_text(text: str) -> str:
    """A header's value as it is sent: UTF-8, as received."""
    return text.encode().decode("latin-1")


def _no_broker(why: str, request_id: str) -> Problem:
    detail = f"{why}; whether the request was kept is unknown: ask again with the same {REQUEST_ID}"
    headers = {REQUEST_ID: _header_text(request_id), "Retry-After": "1"}
    return Problem(detail, status=503, code="broker-unavailable", headers=headers)
