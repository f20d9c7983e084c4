"""Dead letters: groups, lists and single letters. Jobs and audit are in ``operation_log``, actions in ``operator_actions``.

Payloads contain senders' data: they are shown only with the scope ``dead-letters:payload``, everything else with ``dead-letters:read``.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.params import QueryParameter
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import from_json, to_json

from query_service.http.conditional import conditional_response
from query_service.http.openapi import INVALID, RESPONSES, problem_response
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.parameters import LetterId, TimeParameter, parse_time
from query_service.http.problems import InvalidParameterError, StoreDownError
from query_service.http.requests import QueryRequest
from shared.http.identities.identity import identity_of
from shared.http.problems import Problem
from shared.messages.control import Selection
from shared.read_models import NAMES
from shared.views.operations import EditedCommandView, FailureView, GroupView, LetterStatus, LetterView
from shared.views.operations_queries import (
    EDITED,
    FAILURES,
    GROUPS,
    HISTORY,
    LETTER,
    LETTERS,
    LIVE_LETTERS,
    NOTES,
    parameters,
)

HISTORY_HOURS: Final = 24

PAYLOAD: Final = "dead-letters:payload"
LIVE: Final = (LetterStatus.DEAD, LetterStatus.REPLAYING)


class Shown(StrEnum):
    """Which statuses to list; ``live``: dead or being replayed."""

    LIVE = "live"
    ALL = "all"
    DEAD = "dead"
    REPLAYING = "replaying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"
    SUPERSEDED = "superseded"


class LetterKey(SortKey, frozen=True):
    last_failed_at: Annotated[datetime, msgspec.Meta(tz=True)]
    id: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class GroupAnswer(GroupView):
    """With what operators say of it."""

    history: list[int] = Field(
        description="Letters by the hour of their latest failure: the last 24 hours, the oldest first."
    )
    owner: str | None
    note: str | None
    bug: str | None = Field(description="The address of its report.")
    snoozed_until: datetime | None


class Groups(BaseModel):
    """The largest groups first."""

    items: list[GroupAnswer]
    more: bool = Field(description="There are more, smaller groups: raise `limit` or narrow the filters.")


class Payload(BaseModel):
    """The letter's message and its latest stack trace."""

    body: str = Field(description="As text; bytes that are not UTF-8 are replaced.")
    headers: dict[str, Any]
    trace: str = Field(description="The stack trace of the latest failure.")


class LetterAnswer(LetterView):
    """A letter with its failures, and with its payload for those who may see it."""

    routing_key: str
    reply_to: str | None
    correlation_id: str | None
    content_type: str
    failures: list[FailureView] = Field(description="The latest 100, the newest first.")
    edited: list[EditedCommandView] = Field(description="Edited commands sent in place of it.")
    payload: Payload | None
    payload_hidden: bool = Field(description="True: the payload is shown only with the scope `dead-letters:payload`.")


_SAME: Final = "exact match."
Origin = Annotated[str | None, QueryParameter(max_length=100, description="A projection's name, or `commands`.")]
Fingerprint = Annotated[
    str | None, QueryParameter(max_length=4000, description=f"The fingerprint of the cause, {_SAME}")
]
Stream = Annotated[str | None, QueryParameter(max_length=300, description=f"`orders/<order id>` and the like, {_SAME}")]
Type = Annotated[
    str | None, QueryParameter(name="type", max_length=200, description=f"The type of the event or command, {_SAME}")
]
Words = Annotated[
    str | None, QueryParameter(max_length=200, description="A part of the exception or the reason, case-insensitive.")
]
Status = Annotated[Shown, QueryParameter(description="`live`: dead, or being replayed.")]

_NO_LETTER: Final = problem_response(
    404, "There is no such letter.", "letter-not-found", "there is no dead letter 17", "/dead-letters/17"
)


@get(
    "/dead-letters",
    needs="dead-letters:read",
    responses=RESPONSES,
    tags=["operations"],
    summary="Dead letters, the latest first",
)
async def dead_letters(
    request: QueryRequest,
    origin: Origin = None,
    fingerprint: Fingerprint = None,
    stream: Stream = None,
    type_: Type = None,
    status: Status = Shown.LIVE,
    failed_from: TimeParameter = None,
    failed_to: TimeParameter = None,
    text: Words = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[LetterView]]:
    """Letters without payloads, the latest failure first. `failed_from` is inclusive, `failed_to` exclusive."""
    chosen = _selection(origin, fingerprint, stream, type_, failed_from, failed_to, text)
    query = ListQuery("dead-letters", status, *chosen)
    after = query.key(cursor, LetterKey) if cursor else None
    where = (after.last_failed_at, after.id) if after else (None, 0)
    store = request.stores.operations
    if status is Shown.LIVE:
        rows = await store.fetch(LIVE_LETTERS, *chosen, *where, limit + 1)
    else:
        statuses = None if status is Shown.ALL else [status.value]
        rows = await store.fetch(LETTERS, *chosen, *where, limit + 1, statuses)
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = query.cursor(LetterKey(last["last_failed_at"], last["id"]))
    items = (LetterView.model_construct(**row).model_dump_json(warnings=False) for row in rows[:limit])
    return conditional_response(request, page(items, following), {})


@get(
    "/dead-letters/groups",
    needs="dead-letters:read",
    responses=RESPONSES,
    tags=["operations"],
    summary="Live dead letters by cause",
)
async def dead_letter_groups(
    request: QueryRequest,
    origin: Origin = None,
    fingerprint: Fingerprint = None,
    stream: Stream = None,
    type_: Type = None,
    failed_from: TimeParameter = None,
    failed_to: TimeParameter = None,
    text: Words = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response[Groups]:
    """Live letters grouped by origin and fingerprint, so that each cause is one group; the largest group first."""
    chosen = _selection(origin, fingerprint, stream, type_, failed_from, failed_to, text)
    store = request.stores.operations
    rows = await store.fetch(GROUPS, *chosen, limit + 1)
    causes = [row["origin"] for row in rows[:limit]], [row["fingerprint"] for row in rows[:limit]]
    notes = {(row["origin"], row["fingerprint"]): dict(row) for row in await store.fetch(NOTES, *causes)}
    hours = {(row["origin"], row["fingerprint"]): row["history"] for row in await store.fetch(HISTORY, *causes)}
    items = []
    for row in rows[:limit]:
        cause = row["origin"], row["fingerprint"]
        said = dict.fromkeys(("owner", "note", "bug", "snoozed_until")) | notes.get(cause, {})
        items.append(GroupAnswer(**{**row, **said}, history=hours.get(cause, [0] * HISTORY_HOURS)))
    groups = Groups(items=items, more=len(rows) > limit)
    return conditional_response(request, groups.model_dump_json().encode(), {})


@get(
    "/dead-letters/{letter_id:str}",
    needs="dead-letters:read",
    responses={**RESPONSES, 400: INVALID, 404: _NO_LETTER},
    tags=["operations"],
    summary="One dead letter",
)
async def dead_letter(request: QueryRequest, letter_id: LetterId) -> Response[LetterAnswer]:
    """One letter with its failures; with the scope `dead-letters:payload` also its body, headers and stack trace.

    `waiting` counts the events known to wait behind it, from the projection's store if that is available.
    """
    with_payload = identity_of(request).may(PAYLOAD)
    store = request.stores.operations
    row = await store.fetchrow(LETTER, letter_id)
    if row is None:
        raise Problem(f"there is no dead letter {letter_id}", status=404, code="letter-not-found")
    letter: dict[str, Any] = dict(row)
    payload = {
        "body": letter.pop("body").decode(errors="replace"),
        "headers": from_json(letter.pop("headers")),
        "trace": letter.pop("trace"),
    }
    letter["waiting"] = await _waiting(request, letter)
    letter["failures"] = [dict(one) for one in await store.fetch(FAILURES, letter_id)]
    letter["edited"] = [dict(one) for one in await store.fetch(EDITED, letter_id)]
    letter["payload"] = payload if with_payload else None
    letter["payload_hidden"] = not with_payload
    return conditional_response(request, to_json(letter), {"Vary": "Authorization"})


def _selection(
    origin: str | None,
    fingerprint: str | None,
    stream: str | None,
    type_: str | None,
    failed_from: str | None,
    failed_to: str | None,
    text: str | None,
) -> tuple[Any, ...]:
    """The parameters of the SQL selection, with the same meaning as in a replay. Raises InvalidParameterError."""
    since = None if failed_from is None else parse_time("failed_from", failed_from)
    until = None if failed_to is None else parse_time("failed_to", failed_to)
    try:
        selection = Selection(
            origin=origin,
            fingerprint=fingerprint,
            stream=stream,
            type=type_,
            failed_from=since,
            failed_to=until,
            text=text,
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise InvalidParameterError(str(first["loc"][0]), first["msg"]) from error
    return parameters(selection)


async def _waiting(request: QueryRequest, letter: dict[str, Any]) -> int:
    """The number of later events that wait behind the letter's event: the larger of the letter's count and the projection's own.

    The projection's store includes events that have arrived since; while it is unavailable, the letter's count is returned.
    """
    known: int = letter["waiting"]
    if letter["stream"] is None or letter["status"] not in LIVE or letter["origin"] not in NAMES:
        return known
    try:
        store = await request.stores.of(letter["origin"]).store()
        position = (await store.positions([letter["stream"]])).get(letter["stream"])
    except StoreDownError:
        return known
    if position is None or position.hold is None or position.hold.version != letter["version"]:
        return known
    waiting: int = position.hold.seen - position.hold.version
    return max(known, waiting)


ROUTES: Final = (
    dead_letters,
    dead_letter_groups,
    dead_letter,
)
