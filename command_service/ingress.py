"""The HTTP ingress: commands for those who do not speak AMQP. It publishes to ``commands`` and bypasses nothing.

    POST /commands/{type} ──checked against the contract──▶ [commands] … worker … ──▶ our reply queue ──wakes──▶ outcome, from the database

202 is sent when the broker has confirmed that it keeps the command, never before.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Final
from urllib.parse import quote
from uuid import UUID

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.openapi.spec import Example
from litestar.params import FromPath, PathParameter, QueryParameter
from pydantic import ValidationError

from command_service.documented import (
    COMMAND_TYPE,
    DESCRIPTION,
    OUTCOME_ANSWERS,
    SEND_ANSWERS,
    TAG,
    TAGS,
    SendOperation,
)
from command_service.intake import Invalid, digest_of, validate
from command_service.outcomes import Decided, Outcomes
from shared import topology
from shared.broker import BrokerError, Outgoing, Publisher
from shared.contracts.envelope import (
    CONTENT_TYPE,
    MAX_MESSAGE_BYTES,
    CommandEnvelope,
    EnvelopeError,
    describe,
    split,
)
from shared.contracts.outcomes import ACCEPTED
from shared.problems import EXCEPTION_HANDLERS, FieldError, Problem
from shared.service import Service, documentation

SOURCE: Final = "tidemark/http"
CONSISTENCY: Final = "Tidemark-Consistency"
LONGEST_WAIT_S: Final = 30.0
DRAIN_BYTES: Final = 16 * 1024 * 1024
DRAIN_S: Final = 5.0
PREFER_WAIT: Final = re.compile(r"(?:^|[,;\s])wait=(\d{1,9})(?:$|[,;\s])", re.IGNORECASE)

_STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "validation-failed": 422,
    "unknown-command": 404,
}


@post(
    "/commands/{command_type:str}",
    status_code=202,
    raises=[],
    responses=SEND_ANSWERS,
    operation_class=SendOperation,
    tags=[TAG],
    summary="Send a command",
)
async def post_command(
    request: Request[Any, Any, State],
    state: State,
    command_type: Annotated[str, PathParameter(description="Which command.", examples=[Example(value=COMMAND_TYPE)])],
    subject: Annotated[str | None, QueryParameter(description="Id of what the command is about.")] = None,
    expected_version: Annotated[
        int | None,
        QueryParameter(name="expectedversion", ge=0, description="The version you last saw; 0: it must not exist yet."),
    ] = None,
) -> Response[bytes]:
    """Send a command: its data as JSON in the body.

    `Idempotency-Key` is the command's id; one is made where it is missing. Sent again with the same id, the same command
    gets the same outcome. 202: the broker keeps it, the outcome will be at `Location`. With `Prefer: wait=SECONDS` (at most 30)
    the outcome itself: 200 when accepted, a problem with the refusal's `code` otherwise. `Tidemark-Consistency` of an accepted one,
    sent along with a query, makes the query's answer have it.
    """
    ingress: Ingress = state.ingress
    envelope = _envelope(request, command_type, await _body(request), subject, expected_version)
    wait = _wait(request.headers.get("prefer", ""))
    return await ingress.send(envelope, wait)


@get("/commands/{command_id:str}", raises=[], responses=OUTCOME_ANSWERS, tags=[TAG], summary="What became of a command")
async def get_outcome(state: State, command_id: FromPath[str]) -> Response[bytes]:
    """The outcome of a command: 404 as long as there is none."""
    ingress: Ingress = state.ingress
    outcome = await ingress.outcomes.read(command_id)
    if outcome is None:
        detail = "no outcome is known for this id: it has not been decided yet, or never came"
        raise Problem(detail, status=404, code="outcome-not-found", headers={"Retry-After": "1"})
    return Response(outcome.body, media_type=CONTENT_TYPE, headers=_token(msgspec.json.decode(outcome.body)))


@get("/health/live", include_in_schema=False)
async def live() -> dict[str, str]:
    return {"status": "live"}


@get("/health/ready", include_in_schema=False)
async def ready(state: State) -> dict[str, str]:
    ingress: Ingress = state.ingress
    trouble = await ingress.trouble()
    if trouble is not None:
        raise Problem(trouble, status=503, code="not-ready", headers={"Retry-After": "1"})
    return {"status": "ready"}


class Ingress:
    """Publishes commands and waits for outcomes."""

    def __init__(self, publisher: Publisher, outcomes: Outcomes) -> None:
        self._publisher = publisher
        self.outcomes = outcomes

    async def send(self, envelope: CommandEnvelope, wait: float | None) -> Response[bytes]:
        location = {"Location": f"/commands/{envelope.id}"}
        digest = digest_of(envelope)
        _same_command(await self.outcomes.read(envelope.id), digest)
        with self.outcomes.awaiting(envelope.id) as decided:
            await self._publish(envelope, self.outcomes.reply_to if wait else None)
            if wait:
                outcome = await self.outcomes.wait(envelope.id, decided, wait)
                if outcome is not None:
                    _same_command(outcome, digest)
                    return _answer(outcome.body, location | {"Preference-Applied": f"wait={wait:g}"})
        body = msgspec.json.encode({"command_id": envelope.id, "status": "pending"})
        return Response(body, status_code=202, media_type="application/json", headers=location)

    async def trouble(self) -> str | None:
        try:
            await self._publisher.open()
        except BrokerError:
            return "RabbitMQ cannot be reached"
        return await self.outcomes.trouble()

    async def _publish(self, envelope: CommandEnvelope, reply_to: str | None) -> None:
        try:
            await self._publisher.publish(
                Outgoing(
                    topology.COMMANDS,
                    envelope.type,
                    envelope.model_dump_json(exclude_none=True).encode(),
                    CONTENT_TYPE,
                    type=envelope.type,
                    correlation_id=envelope.id,
                    reply_to=reply_to,
                )
            )
        except BrokerError as error:
            detail = "the command could not be handed to the broker; whether it was kept is unknown: send it again"
            headers = {"Retry-After": "1", "Location": f"/commands/{envelope.id}"}
            raise Problem(detail, status=503, code="broker-unavailable", headers=headers) from error


def create_app(ingress: Ingress) -> Litestar:
    return Service(
        route_handlers=[post_command, get_outcome, live, ready],
        state=State({"ingress": ingress}),
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=MAX_MESSAGE_BYTES,
        openapi_config=documentation(
            title="Tidemark command service",
            version="1",
            description=DESCRIPTION,
            tags=TAGS,
            operation_id_creator=lambda handler, _method, _path: handler.handler_name,
        ),
        logging_config=None,
    )


def new_id(now_ms: int | None = None) -> str:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds since 1970, version, variant, and 74 random bits."""
    milliseconds = int(time.time() * 1000) if now_ms is None else now_ms
    random = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return str(UUID(int=value))


async def _body(request: Request[Any, Any, State]) -> Any:
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type not in {"application/json", ""}:
        raise Problem("the body is a command's data, as application/json", status=415, code="unsupported-media-type")
    try:
        elements = split(await request.body())
    except RequestEntityTooLarge:
        await _drain(request)
        raise
    except EnvelopeError as error:
        raise Problem(f"the body is {error}", status=400, code="malformed-message") from error
    if len(elements) != 1 or not isinstance(elements[0], dict):
        raise Problem("the body must be one JSON object: the command's data", status=400, code="malformed-message")
    return elements[0]


async def _drain(request: Request[Any, Any, State]) -> None:
    """Read on for a while: one who is still sending would find the connection reset, and no answer."""
    left = DRAIN_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while left > 0:
                event: Any = await request.receive()
                if event["type"] != "http.request" or not event.get("more_body"):
                    return
                left -= len(event["body"])


def _envelope(
    request: Request[Any, Any, State], command_type: str, data: Any, subject: str | None, expected: int | None
) -> CommandEnvelope:
    attributes = {
        "id": request.headers.get("idempotency-key") or new_id(),
        "source": SOURCE,
        "type": command_type,
        "subject": subject,
        "expectedversion": expected,
        "traceparent": request.headers.get("traceparent"),
        "data": data,
    }
    try:
        envelope = CommandEnvelope.model_validate(attributes)
    except ValidationError as error:
        errors = describe(error)
        raise _invalid("validation-failed", "the command is not valid", errors, 422) from error
    task = validate(envelope)
    if isinstance(task, Invalid):
        raise _invalid(task.code, task.message, task.errors, _STATUS_OF_CODE[task.code])
    return envelope


def _invalid(code: str, message: str, errors: Any, status: int) -> Problem:
    fields = [FieldError(str(error["field"]), str(error["message"])) for error in errors]
    return Problem(message, status=status, code=code, errors=fields or None)


def _same_command(known: Decided | None, digest: bytes) -> None:
    """Raises Problem where the id has been used for a command with another body."""
    if known is not None and known.digest != digest:
        detail = "this id was used before, for a command with another body"
        raise Problem(detail, status=422, code="idempotency-key-reused")


def _answer(outcome: bytes, headers: dict[str, str]) -> Response[bytes]:
    envelope = msgspec.json.decode(outcome)
    if envelope["type"] == ACCEPTED:
        return Response(outcome, status_code=200, media_type=CONTENT_TYPE, headers=headers | _token(envelope))
    data = envelope["data"]
    code = data["code"]
    status = _STATUS_OF_CODE.get(code, 404 if code.endswith("-not-found") else 409)
    problem = _invalid(code, data["message"], data.get("errors", ()), status)
    problem.headers |= headers
    raise problem


def _token(outcome: Mapping[str, Any]) -> dict[str, str]:
    """Of an accepted one: what to ask the query service with, to read this write. Percent-encoded beyond ASCII."""
    if outcome["type"] != ACCEPTED:
        return {}
    data = outcome["data"]
    epoch = f";epoch={data['epoch']}" if data.get("epoch") else ""
    return {CONSISTENCY: f"{quote(data['stream'], safe='/._:~@+=-')}@{data['version']}{epoch}"}


def _wait(prefer: str) -> float | None:
    """Seconds of ``Prefer: wait=N`` (RFC 7240 §4.3), at most LONGEST_WAIT_S; None without it."""
    found = PREFER_WAIT.search(prefer)
    return min(float(found.group(1)), LONGEST_WAIT_S) if found else None
