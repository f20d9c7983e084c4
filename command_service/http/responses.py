"""Responses of the ingress: an outcome, "not yet", and refusals as problems."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

import msgspec
from litestar import Response

from command_service.handling.parsing import CommandKey
from command_service.handling.pending import PendingCommand
from command_service.http.command_names import location
from shared.http.problems import FieldError, Problem
from shared.messages.envelope import CONTENT_TYPE
from shared.messages.outcomes import ACCEPTED
from shared.runtime.postgres import is_outage

CONSISTENCY: Final = "Tidemark-Consistency"
STATUS_OF_CODE: Final[Mapping[str, int]] = {"validation-failed": 422, "unknown-command": 404}


def refusal(code: str, message: str, errors: Any, status: int) -> Problem:
    fields = [FieldError(str(error["field"]), str(error["message"])) for error in errors]
    return Problem(message, status=status, code=code, errors=fields or None)


def pending_response(key: CommandKey, undecided: PendingCommand | None) -> Response[bytes]:
    """202: there is no outcome yet. ``undecided``: the reason, if it is an error inside the service."""
    source, command_id = key
    content: dict[str, Any] = {"command_id": command_id, "source": source, "status": "pending"}
    headers = {"Location": location(key)}
    if undecided is not None:
        content |= {"reason": undecided.reason, "message": undecided.message, "since": undecided.since}
        if undecided.notbefore is not None:
            content["notbefore"] = undecided.notbefore
        headers["Retry-After"] = "10"
    return Response(msgspec.json.encode(content), status_code=202, media_type="application/json", headers=headers)


def outcome_response(outcome: bytes, headers: dict[str, str]) -> Response[bytes]:
    envelope = msgspec.json.decode(outcome)
    if envelope["type"] == ACCEPTED:
        return Response(
            outcome, status_code=200, media_type=CONTENT_TYPE, headers=headers | consistency_token(envelope)
        )
    data = envelope["data"]
    code = data["code"]
    status = STATUS_OF_CODE.get(code, 404 if code.endswith("-not-found") else 409)
    problem = refusal(code, data["message"], data.get("errors", ()), status)
    problem.headers |= headers
    raise problem


def consistency_token(outcome: Mapping[str, Any]) -> dict[str, str]:
    """The header of an accepted outcome with the token to read this write in the query service."""
    if outcome["type"] != ACCEPTED:
        return {}
    data = outcome["data"]
    return consistency_header(data["stream"], data["version"], data.get("epoch"))


def consistency_header(stream: str, version: int, epoch: str | None = None) -> dict[str, str]:
    """The header with the token to read this version of a stream in the query service. Percent-encoded beyond ASCII."""
    suffix = f";epoch={epoch}" if epoch else ""
    return {CONSISTENCY: f"{quote(stream, safe='/._:~@+=-')}@{version}{suffix}"}


@asynccontextmanager
async def available_within(seconds: float, detail: str) -> AsyncIterator[None]:
    """Raises Problem 503 with this detail for an outage of the database in the block, and for a block that takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except Exception as error:
        if not is_outage(error):
            raise
        raise Problem(detail, status=503, code="store-unavailable", headers={"Retry-After": "1"}) from error
