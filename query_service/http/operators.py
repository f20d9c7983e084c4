"""Operators over HTTP: who they are, and their requests to the dead-letter worker.

Nobody acts without the key that ``TIDEMARK_OPERATOR_KEY`` holds; it is compared in constant time. The key says that
somebody is an operator, ``Tidemark-Actor`` which one: that name goes into the audit.

    Problem
    ├── 403 acts-are-off              there is no key to compare with
    ├── 401 operator-key-required     no key, or another one
    ├── 400 invalid-parameter         a header is missing or cannot be
    ├── 503 broker-unavailable        RabbitMQ is away: whether it has the request is unknown
    └── 504 no-answer                 the broker keeps the request; the worker has not answered
"""

import asyncio
import hmac
from typing import Any, Final
from uuid import uuid4

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from pydantic import TypeAdapter, ValidationError

from query_service.http.problems import InvalidParameterError
from shared.contracts.values import Actor
from shared.http.problems import FieldError, Problem
from shared.messaging.broker import BrokerError, UnroutableError
from shared.messaging.control_client import NoReplyError
from shared.messaging.operations_client import Act, request, send_request
from shared.views.operations import Done, Refused

SOURCE: Final = "tidemark/query"
ACTOR: Final = "Tidemark-Actor"
REQUEST_ID: Final = "Idempotency-Key"
ANSWER_WITHIN_S: Final = 10.0
AT_ONCE: Final = 8

_STATUS_OF_CODE: Final = {
    "validation-failed": 422,
    "not-a-command": 422,
    "not-editable": 422,
    "request-id-reused": 422,
    "letter-not-found": 404,
    "job-not-found": 404,
    "internal-error": 502,
}
"""Of what the worker refuses; anything else does not fit the state things are in: 409."""

_LABEL: Final[TypeAdapter[str]] = TypeAdapter(Actor)

Connected = ASGIConnection[Any, Any, Any, Any]


class Operators:
    """What one application knows of operators: their key, and the broker that takes their requests."""

    def __init__(self, key: str = "", rabbitmq_url: str = "") -> None:
        self._key = key.encode()
        self._url = rabbitmq_url
        self._slots = asyncio.Semaphore(AT_ONCE)

    def recognises(self, connection: Connected) -> bool:
        """Whether an operator's key came with it. Raises Problem for a wrong one: silence would look like an answer."""
        scheme, _, given = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        if not self._key:
            raise _off()
        if not hmac.compare_digest(given.strip().encode("latin-1"), self._key):
            raise _unauthorized("this is not the operator's key")
        return True

    def admit(self, connection: Connected) -> None:
        """Raises Problem unless an operator's key came with it."""
        if not self._key:
            raise _off()
        if not self.recognises(connection):
            raise _unauthorized("this is for operators: Authorization: Bearer <the key in TIDEMARK_OPERATOR_KEY>")

    async def ask(self, act: Act, request_id: str) -> Done:
        """What the act came to. Raises Problem, with the worker's own code where it refuses."""
        if not self._url:
            raise _no_broker("TIDEMARK_RABBITMQ_URL is not set", request_id)
        try:
            async with self._slots:
                asked = request(act, source=SOURCE, request_id=request_id)
                result = await send_request(self._url, asked, seconds=ANSWER_WITHIN_S)
        except NoReplyError as error:
            detail = f"{error}; the broker keeps the request: ask again with the same {REQUEST_ID} for what came of it"
            headers = {REQUEST_ID: _sent(request_id), "Retry-After": "10"}
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


def operators_only(connection: Connected, _: BaseRouteHandler) -> None:
    """A guard: nothing of a request is looked at before its key."""
    operators: Operators = connection.app.state.operators
    operators.admit(connection)


def actor(connection: Connected) -> str:
    """Who acts. Raises InvalidParameterError."""
    name = _header(connection, ACTOR)
    if name is None:
        raise InvalidParameterError(ACTOR, "say who acts: a name for the audit, 1 to 200 characters")
    return name


def request_id(connection: Connected) -> str:
    """The sender's id of the request, or a new one. Raises InvalidParameterError."""
    return _header(connection, REQUEST_ID) or str(uuid4())


def answer_headers(request_id: str) -> dict[str, str]:
    return {REQUEST_ID: _sent(request_id), "Cache-Control": "no-store"}


def _header(connection: Connected, name: str) -> str | None:
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


def _sent(text: str) -> str:
    """A header's value as it goes out: UTF-8, as it came in."""
    return text.encode().decode("latin-1")


def _off() -> Problem:
    detail = "nobody may act over HTTP here: the query service has no TIDEMARK_OPERATOR_KEY; set it, and start it again"
    return Problem(detail, status=403, code="acts-are-off")


def _unauthorized(detail: str) -> Problem:
    headers = {"WWW-Authenticate": 'Bearer realm="tidemark operators"'}
    return Problem(detail, status=401, code="operator-key-required", headers=headers)


def _no_broker(why: str, request_id: str) -> Problem:
    detail = f"{why}; whether the request was kept is unknown: ask again with the same {REQUEST_ID}"
    headers = {REQUEST_ID: _sent(request_id), "Retry-After": "1"}
    return Problem(detail, status=503, code="broker-unavailable", headers=headers)
