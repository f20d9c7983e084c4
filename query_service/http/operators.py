"""Sends operators' requests to the dead-letter worker and to projectors, in the name of the identity that each request has.

The identity is the actor in the audit, and ``Tidemark-Actor`` the person whom it says it acts for. While authentication is off, there is
no identity, and ``Tidemark-Actor`` is the actor.

    Problem
    ├── 400 invalid-parameter         a header is missing or malformed
    ├── 503 broker-unavailable        RabbitMQ is unavailable: whether it has the request is unknown
    └── 504 no-answer                 the broker keeps the request; who is asked has not replied
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from uuid import uuid4

from litestar import MediaType, Response
from pydantic import TypeAdapter, ValidationError

from query_service.http.problems import InvalidParameterError
from shared.contracts.values import Actor
from shared.http.identities.credentials import ACTOR, claimed_person
from shared.http.identities.identity import AnyConnection, identity_of
from shared.http.identities.scopes import EVERYTHING
from shared.http.problems import FieldError, Problem
from shared.messages.process_acts import ActOnProcess, ProcessActed, ProcessRefused
from shared.messaging.broker import BrokerError, UnroutableError
from shared.messaging.control_client import NoReplyError
from shared.messaging.operators import generations_client, processes_client
from shared.messaging.operators.operations_client import Act, request, send_request
from shared.views.generations import GenerationRefused, GenerationsChanged
from shared.views.operations import Done, Refused

SOURCE: Final = "tidemark/query"
COMMANDS: Final = "commands:"
REQUEST_ID: Final = "Idempotency-Key"
ANSWER_TIMEOUT_S: Final = 10.0
MAX_CONCURRENT: Final = 8

_STATUS_OF_CODE: Final = {
    "validation-failed": 422,
    "not-a-command": 422,
    "not-editable": 422,
    "request-id-reused": 422,
    "forbidden": 403,
    "letter-not-found": 404,
    "job-not-found": 404,
    "check-not-found": 404,
    "group-not-found": 404,
    "generation-not-found": 404,
    "process-not-found": 404,
    "unknown-process-manager": 404,
    "internal-error": 502,
}
"""HTTP statuses of the worker's refusal codes. All others are conflicts with the current state: 409."""

_LABEL: Final[TypeAdapter[str]] = TypeAdapter(Actor)


Answer = TypeVar("Answer")


class Operators:
    """A client of the broker that takes operators' requests."""

    def __init__(self, rabbitmq_url: str = "") -> None:
        self._url = rabbitmq_url
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def ask(self, act: Act, request_id: str) -> Done:
        """The result of the action. Raises Problem, with the worker's own code if it refuses."""
        message = request(act, source=SOURCE, request_id=request_id)
        result = await self._ask(lambda url: send_request(url, message, seconds=ANSWER_TIMEOUT_S), request_id)
        if isinstance(result, Refused):
            errors = [FieldError(str(one.get("field", "?")), str(one.get("message", ""))) for one in result.errors]
            raise _refusal(result, errors)
        return result

    async def ask_projector(self, act: generations_client.Act, request_id: str) -> GenerationsChanged:
        """All generations after the act. Raises Problem, with the projector's own code if it refuses."""
        message = generations_client.request(act, source=SOURCE, request_id=request_id)
        result = await self._ask(
            lambda url: generations_client.send_request(url, message, seconds=ANSWER_TIMEOUT_S), request_id
        )
        if isinstance(result, GenerationRefused):
            raise _refusal(result)
        return result

    async def ask_process_manager(self, act: ActOnProcess, request_id: str) -> ProcessActed:
        """The process after the act. Raises Problem, with the process managers' own code if they refuse."""
        message = processes_client.request(act, source=SOURCE, request_id=request_id)
        result = await self._ask(
            lambda url: processes_client.send_request(url, message, seconds=ANSWER_TIMEOUT_S), request_id
        )
        if isinstance(result, ProcessRefused):
            raise _refusal(result)
        return result

    async def _ask(self, send: Callable[[str], Awaitable[Answer]], request_id: str) -> Answer:
        if not self._url:
            raise _no_broker("TIDEMARK_RABBITMQ_URL is not set", request_id)
        try:
            async with self._slots:
                return await send(self._url)
        except NoReplyError as error:
            detail = f"{error}; the broker keeps the request: ask again with the same {REQUEST_ID} for what came of it"
            headers = {REQUEST_ID: _header_text(request_id), "Retry-After": "10"}
            raise Problem(detail, status=504, code="no-answer", headers=headers) from error
        except UnroutableError as error:
            raise _no_broker("the broker has no queue for operators' requests yet", request_id) from error
        except BrokerError as error:
            raise _no_broker("the broker cannot be reached", request_id) from error


def _refusal(refused: Refused | GenerationRefused | ProcessRefused, errors: list[FieldError] | None = None) -> Problem:
    status = _STATUS_OF_CODE.get(refused.code, 409)
    return Problem(refused.message, status=status, code=refused.code, errors=errors or None)


def acting(connection: AnyConnection) -> dict[str, str | None]:
    """The members ``actor`` and ``behind`` of a request. Raises InvalidParameterError."""
    identity = identity_of(connection)
    if not identity.is_anonymous:
        return {"actor": identity.subject, "behind": identity.behind}
    name = claimed_person(connection)
    if name is None:
        raise InvalidParameterError(ACTOR, "is required: the operator's name for the audit, 1 to 200 characters")
    return {"actor": name}


def commands_of(connection: AnyConnection) -> tuple[str, ...]:
    """The types of command that the identity may send, wildcards included."""
    granted = identity_of(connection).scopes
    return tuple(
        sorted(scope.removeprefix(COMMANDS) for scope in granted if scope == EVERYTHING or scope.startswith(COMMANDS))
    )


def request_id(connection: AnyConnection) -> str:
    """The sender's id of the request, or a new one. Raises InvalidParameterError."""
    return _header(connection, REQUEST_ID) or str(uuid4())


def response_headers(request_id: str) -> dict[str, str]:
    return {REQUEST_ID: _header_text(request_id), "Cache-Control": "no-store"}


def answer(body: bytes, request_id: str, *, status: int = 200, location: str | None = None) -> Response[Any]:
    """The answer to an act that was taken. ``body``: JSON; ``location``: of what the act has made."""
    headers = response_headers(request_id) | ({} if location is None else {"Location": location})
    return Response(body, status_code=status, media_type=MediaType.JSON, headers=headers)


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
