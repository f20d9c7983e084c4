"""From an HTTP request to a command's envelope, checked against its contract, and to the message that is published."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from litestar import Request
from litestar.datastructures import State
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from pydantic import ValidationError

from command_service.handling.parsing import TOO_LARGE, Invalid, validate
from command_service.http.command_names import given_actor, given_id
from command_service.http.responses import STATUS_OF_CODE, refusal
from command_service.http.senders import sending_source
from shared.contracts.registry import EXACT_NUMBERS
from shared.contracts.validation_errors import describe
from shared.http.identities.identity import identity_of
from shared.http.problems import Problem
from shared.messages.envelope import MAX_MESSAGE_BYTES, CommandEnvelope, EnvelopeError, is_batch, parse, split

DRAIN_BYTES: Final = 16 * 1024 * 1024
DRAIN_S: Final = 5.0
NO_BINARY_MODE: Final = (
    "binary-mode CloudEvents are not understood: send structured mode, application/cloudevents+json, to the exchange `commands`; "
    "over HTTP the body is the command's data, its id the header Idempotency-Key, its subject the parameter `subject`"
)


async def read_body(request: Request[Any, Any, State], command_type: str) -> Any:
    """The command's data. Raises Problem."""
    if "ce-specversion" in request.headers:
        # Its ce-id is meant as the idempotency key: with the body alone it would be decided again each time.
        raise Problem(NO_BINARY_MODE, status=415, code="unsupported-media-type")
    try:
        body = await request.body()
        elements = split(body)
    except RequestEntityTooLarge as error:
        await _drain(request)
        detail = (
            f"a command may have {MAX_MESSAGE_BYTES} bytes, with the envelope that it gets here; this body has more"
        )
        raise Problem(detail, status=413, code=TOO_LARGE) from error
    except EnvelopeError as error:
        raise Problem(f"the body is {error}", status=400, code="malformed-message") from error
    if len(elements) != 1 or not isinstance(elements[0], dict) or is_batch(body):
        raise Problem("the body must be one JSON object: the command's data", status=400, code="malformed-message")
    return parse(body, exact=True) if command_type in EXACT_NUMBERS else elements[0]


async def _drain(request: Request[Any, Any, State]) -> None:
    """Read the rest for a while: a client that is still sending would get a connection reset instead of the response."""
    left = DRAIN_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while left > 0:
                event: Any = await request.receive()
                if event["type"] != "http.request" or not event.get("more_body"):
                    return
                left -= len(event["body"])


def read_envelope(
    request: Request[Any, Any, State],
    command_type: str,
    data: Any,
    subject: str | None,
    expected: int | None,
    notbefore: str | None = None,
) -> CommandEnvelope:
    """Raises Problem for a command that its contract does not allow, or that is sent as another's source.

    The identity is the ``actor``, and the person whom it says it acts for is ``behind``.
    """
    identity = identity_of(request)
    attributes = {
        "id": given_id(request.headers),
        "source": sending_source(request.headers, identity),
        "type": command_type,
        "subject": subject,
        "expectedversion": expected,
        "notbefore": notbefore,
        "actor": given_actor(request.headers) if identity.is_anonymous else identity.subject,
        "behind": identity.behind,
        "traceparent": request.headers.get("traceparent"),
        "data": data,
    }
    try:
        envelope = CommandEnvelope.model_validate(attributes)
    except ValidationError as error:
        errors = describe(error)
        raise refusal("validation-failed", "the command is not valid", errors, 422) from error
    task = validate(envelope)
    if isinstance(task, Invalid):
        raise refusal(task.code, task.message, task.errors, STATUS_OF_CODE[task.code])
    return envelope


def serialise(envelope: CommandEnvelope) -> bytes:
    """The message to publish. Raises Problem where the worker would refuse it for its size."""
    body = envelope.model_dump_json(exclude_none=True).encode()
    if len(body) > MAX_MESSAGE_BYTES:
        detail = f"a command may have {MAX_MESSAGE_BYTES} bytes; with the envelope that it gets here this one has {len(body)}"
        raise Problem(detail, status=413, code=TOO_LARGE)
    return body
