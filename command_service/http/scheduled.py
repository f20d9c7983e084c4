"""Scheduled commands over HTTP: list, look at, move to another time, cancel.

A change is a message on ``commands``, like the command itself: the worker decides what came first. The response says what became of it.
"""

import asyncio
import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, delete, get, patch
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from command_service.handling.parsing import CommandKey
from command_service.http.command_names import ACTOR_HEADER, given_actor
from command_service.http.ingress import Ingress
from command_service.http.openapi import RESCHEDULE_RESPONSES, SCHEDULED_RESPONSES, TAG, RescheduleOperation
from command_service.http.outcome_waiting import StoredOutcome
from command_service.http.responses import outcome_response, refusal
from command_service.http.senders import own_source, require_sight
from command_service.scheduling.acts_switch import ActsSwitch
from command_service.scheduling.scheduled_commands import ScheduledCommand
from shared.contracts.validation_errors import describe
from shared.contracts.values import Actor, Timestamp
from shared.http.identities.guard import AUTHENTICATED
from shared.http.identities.identity import identity_of
from shared.http.json_bodies import json_object
from shared.http.problems import Problem
from shared.http.query_string import InvalidParameterError
from shared.messages.control import Reason
from shared.messaging.denials import ANONYMOUS

SCHEDULED: Final = "scheduled:act"
"""The scope for the scheduled commands of all senders."""
DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
WAIT_S: Final = 5.0
"""The longest that a request waits until the worker has changed the schedule."""
POLL_S: Final = 0.05
_FIRST: Final = (datetime(1, 1, 1, tzinfo=UTC), 0)

Source = Annotated[
    str | None,
    QueryParameter(description="The service that sent it, as `Tidemark-Source` or on the bus.", max_length=500),
]


class ScheduledView(BaseModel):
    """A command that waits for its time."""

    command_id: str
    source: str
    command_type: str
    subject: str | None
    notbefore: datetime = Field(description="When it is due.")
    scheduled_at: datetime


class ScheduledPage(BaseModel):
    items: list[ScheduledView]
    next_cursor: str | None = Field(description="Send it as `cursor` to get the next page.")


class NewTime(BaseModel):
    model_config = ConfigDict(extra="forbid")

    notbefore: Timestamp = Field(description="The new time; one that has passed: it is decided at once.")


_RESCHEDULED: Final = ResponseSpec(
    ScheduledView, description="It is due at the new time; or its outcome, if that has passed.", generate_examples=False
)
_CANCELLED: Final = ResponseSpec(
    dict[str, str], description="Its outcome is the refusal `cancelled` now.", generate_examples=False
)


class Cancellation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    actor: Actor
    reason: Annotated[Reason, Field(min_length=1)]


@get(
    "/scheduled-commands",
    needs=AUTHENTICATED,
    raises=[],
    responses=SCHEDULED_RESPONSES,
    tags=[TAG],
    summary="Commands that wait for their time",
)
async def list_scheduled(
    request: Request[Any, Any, State],
    state: State,
    source: Source = None,
    command_type: Annotated[
        str | None, QueryParameter(name="type", description="Of this type.", max_length=300)
    ] = None,
    limit: Annotated[
        int, QueryParameter(ge=1, le=MAX_LIMIT, description="Maximum number of items on a page.")
    ] = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None, QueryParameter(description="`next_cursor` of the page before.", max_length=200)
    ] = None,
) -> ScheduledPage:
    """By the time at which they are due, then in the order in which they were scheduled.

    Your own; with the scope `scheduled:act` those of all senders.
    """
    ingress: Ingress = state.ingress
    identity = identity_of(request)
    if source is not None or not identity.may(SCHEDULED):
        source = source or own_source(identity)
        require_sight(identity, source, SCHEDULED)
    after = _FIRST if cursor is None else _position(cursor)
    found = await ingress.outcomes.scheduled_page(after, limit + 1, source=source, command_type=command_type)
    items, more = found[:limit], len(found) > limit
    return ScheduledPage(items=[_view(one) for one in items], next_cursor=_cursor(items[-1]) if more else None)


@get(
    "/scheduled-commands/{command_id:str}",
    needs=AUTHENTICATED,
    raises=[],
    responses=SCHEDULED_RESPONSES,
    tags=[TAG],
    summary="One of them",
)
async def get_scheduled(
    request: Request[Any, Any, State], state: State, command_id: FromPath[str], source: Source = None
) -> ScheduledView:
    """404: it is not scheduled (any more); its outcome, if there is one, is at `/commands/{command_id}`."""
    return _view(await _find(request, command_id, source))


@patch(
    "/scheduled-commands/{command_id:str}",
    needs=AUTHENTICATED,
    raises=[],
    responses={200: _RESCHEDULED, **RESCHEDULE_RESPONSES},
    operation_class=RescheduleOperation,
    tags=[TAG],
    summary="Another time",
)
async def reschedule(
    request: Request[Any, Any, State],
    state: State,
    command_id: FromPath[str],
    reason: Annotated[str, QueryParameter(description="Why, for the audit.", max_length=1000)] = "",
    source: Source = None,
) -> Response[Any]:
    """Who moves it is in the audit. 423: operators' acts are forbidden for now; senders still move their own.

    200: it is due at the new time, or decided if that has passed. 202: the worker has not done it yet. 404: it is not scheduled now.
    """
    ingress: Ingress = state.ingress
    try:
        data = NewTime.model_validate(await json_object(request))
    except ValidationError as error:
        raise refusal("validation-failed", "the new time is not valid", describe(error, NewTime), 422) from error
    await _require_allowed(request)
    found = await _find(request, command_id, source)
    asked = found.asked("reschedule", _actor(request, ANONYMOUS), reason, notbefore=data.notbefore.isoformat())
    await ingress.publish(asked, (found.source, found.command_id))
    await ingress.publish(found.rescheduled(data.notbefore), (found.source, found.command_id))

    async def outcome() -> Response[Any] | None:
        now = await ingress.outcomes.scheduled((found.source, found.command_id))
        if now is not None and now.due_at == data.notbefore:
            return Response(_view(now))
        return await _decided(ingress, (found.source, found.command_id)) if now is None else None

    return await _wait(outcome)


@delete(
    "/scheduled-commands/{command_id:str}",
    needs=AUTHENTICATED,
    status_code=200,
    raises=[],
    responses={200: _CANCELLED, **SCHEDULED_RESPONSES},
    tags=[TAG],
    summary="Cancel it",
)
async def cancel(
    request: Request[Any, Any, State],
    state: State,
    command_id: FromPath[str],
    reason: Annotated[
        str, QueryParameter(description="Why; it is part of the outcome.", min_length=1, max_length=1000)
    ],
    source: Source = None,
) -> Response[Any]:
    """It is cancelled in the name of the credential; while authentication is off, the header `Tidemark-Actor` says who does it.

    200: its outcome is the refusal `cancelled` now, which its sender gets too.

    423: operators' acts are forbidden for now; senders still cancel their own.

    409: it was decided before. 202: the worker has not done it yet. 404: it is not scheduled (any more).
    """
    ingress: Ingress = state.ingress
    actor = _actor(request)
    await _require_allowed(request)
    found = await _find(request, command_id, source)
    key = (found.source, found.command_id)
    await ingress.publish(found.asked("cancel", actor, reason), key)
    await ingress.publish(found.cancelled(actor, reason), key)

    async def outcome() -> Response[Any] | None:
        known = await ingress.outcomes.read(key)
        if not isinstance(known, StoredOutcome):
            return None
        if msgspec.json.decode(known.body)["data"].get("code") == "cancelled":
            return Response({"command_id": found.command_id, "source": found.source, "status": "cancelled"})
        raise Problem("it was decided before it could be cancelled", status=409, code="not-scheduled")

    return await _wait(outcome)


ROUTES: Final = (list_scheduled, get_scheduled, reschedule, cancel)


def _actor(request: Request[Any, Any, State], unnamed: str | None = None) -> str:
    """Who acts. ``unnamed``: with authentication off, who it is when the request names nobody; None: it has to."""
    identity = identity_of(request)
    if not identity.is_anonymous:
        return f"{identity.subject}, for {identity.behind}" if identity.behind else identity.subject
    actor = given_actor(request.headers) or unnamed
    if not actor:
        raise InvalidParameterError(ACTOR_HEADER, "is needed: who cancels it")
    return actor


async def _require_allowed(request: Request[Any, Any, State]) -> None:
    """The switch is for operators: a service without the scope goes on with what it has sent itself. Raises Problem 423, 503."""
    acts: ActsSwitch | None = request.app.state.acts
    if acts is not None and identity_of(request).may(SCHEDULED):
        await acts.require_allowed()


async def _find(request: Request[Any, Any, State], command_id: str, source: str | None) -> ScheduledCommand:
    """Raises ForbiddenError for another's, and Problem where there is none."""
    ingress: Ingress = request.app.state.ingress
    identity = identity_of(request)
    key = (source or own_source(identity), command_id)
    require_sight(identity, key[0], SCHEDULED)
    found = await ingress.outcomes.scheduled(key)
    if found is None and source is None and identity.may(SCHEDULED):
        key, _ = await ingress.find(identity, command_id, source, SCHEDULED)
        found = await ingress.outcomes.scheduled(key)
    if found is None:
        raise Problem("no scheduled command with this id waits for its time", status=404, code="not-scheduled")
    return found


async def _decided(ingress: Ingress, key: CommandKey) -> Response[Any] | None:
    known = await ingress.outcomes.read(key)
    return outcome_response(known.body, {}) if isinstance(known, StoredOutcome) else None


async def _wait(outcome: Callable[[], Awaitable[Response[Any] | None]]) -> Response[Any]:
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while asyncio.get_running_loop().time() < deadline:
        found = await outcome()
        if found is not None:
            return found
        await asyncio.sleep(POLL_S)
    return Response({"status": "pending"}, status_code=202)


def _view(one: ScheduledCommand) -> ScheduledView:
    return ScheduledView(
        command_id=one.command_id,
        source=one.source,
        command_type=one.command_type,
        subject=one.subject,
        notbefore=one.due_at,
        scheduled_at=one.scheduled_at,
    )


def _cursor(last: ScheduledCommand) -> str:
    return urlsafe_b64encode(msgspec.json.encode((last.due_at, last.id))).rstrip(b"=").decode()


def _position(cursor: str) -> tuple[datetime, int]:
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        due_at, id_ = msgspec.json.decode(raw, type=tuple[Annotated[datetime, msgspec.Meta(tz=True)], int])
        return due_at.astimezone(UTC), min(max(id_, 0), 2**63 - 1)
    except (binascii.Error, ValueError, OverflowError) as error:
        raise Problem("cursor is not a cursor of this service", status=400, code="invalid-parameter") from error
