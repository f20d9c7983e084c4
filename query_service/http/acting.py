"""An operator's act as a request asks for it: who asks, its id, and its body, checked; refused while acts are forbidden.

Problem
├── 422 validation-failed    the body does not fit; ``errors`` names the fields
└── 423 read-only            an administrator has forbidden acts; says who, since when and why
"""

from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from query_service.http import operators
from query_service.http.requests import QueryRequest
from shared.contracts.validation_errors import describe
from shared.http.json_bodies import json_object
from shared.http.problems import FieldError, Problem
from shared.views.operations import ReadOnlyView
from shared.views.operations_queries import READ_ONLY

Act = TypeVar("Act", bound=BaseModel)

READ_ONLY_CODE: Final = "read-only"


class Reasoned(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=2000, description="Why, for the audit.")


async def read_only(request: QueryRequest) -> ReadOnlyView:
    """Whether acts are forbidden. Raises StoreDownError: then no act is let through, either."""
    return ReadOnlyView.of(await request.stores.operations.fetchrow(READ_ONLY))


async def require_acts_allowed(request: QueryRequest) -> None:
    """Raises Problem 423, StoreDownError."""
    found = await read_only(request)
    if found.on:
        since = "" if found.since is None else f" since {found.since:%Y-%m-%d %H:%M} UTC"
        detail = f"operators' acts are forbidden{since} by {found.by}: {found.reason}"
        raise Problem(detail, status=423, code=READ_ONLY_CODE)


async def act_of(request: QueryRequest, model: type[Act], /, *, body_required: bool = True, **values: object) -> Act:
    """The act that the body and ``values`` describe: ``values`` are no part of the body. The actor is the request's own identity.

    Raises Problem, InvalidParameterError.
    """
    return await body_of(request, model, body_required=body_required, **operators.acting(request), **values)


async def body_of(request: QueryRequest, model: type[Act], /, *, body_required: bool = True, **values: object) -> Act:
    """The body, with ``values`` besides, which are no part of it. Raises Problem."""
    body = await _body(request, required=body_required)
    if misplaced := sorted(values.keys() & body.keys()):
        raise invalid([FieldError(name, "is not part of the body") for name in misplaced])
    try:
        return model.model_validate(body | values)
    except ValidationError as error:
        raise invalid([FieldError(one["field"], one["message"]) for one in describe(error, model)]) from error


async def _body(request: QueryRequest, *, required: bool) -> dict[str, Any]:
    return {} if not required and not (await request.body()).strip() else await json_object(request)


def invalid(errors: list[FieldError]) -> Problem:
    return Problem("the request is not valid", status=422, code="validation-failed", errors=errors)
