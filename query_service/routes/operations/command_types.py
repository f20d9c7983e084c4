"""The types of commands, with the JSON Schemas of their data, and validation without sending: for forms, and for editing dead commands.

Commands are sent to the command service: this service has no right to publish any.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from litestar import Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import PathParameter
from pydantic import BaseModel, Field, ValidationError

from query_service.http.acting import invalid
from query_service.http.conditional import conditional_response
from query_service.http.openapi import UNREAD, problem_response
from query_service.http.operator_openapi import ACTION_RESPONSES
from query_service.http.requests import QueryRequest
from shared.contracts.registry import COMMANDS, EXACT_NUMBERS
from shared.contracts.validation_errors import describe
from shared.contracts.values import CommandData
from shared.http.identities.guard import AUTHENTICATED
from shared.http.identities.identity import identity_of
from shared.http.identities.scopes import of_command
from shared.http.json_bodies import json_object
from shared.http.problems import FieldError, Problem
from shared.messages.envelope import MAX_MESSAGE_BYTES

TypeName = Annotated[str, PathParameter(description="The type of a command, e.g. `orders.place-order`.")]


class CommandTypeView(BaseModel):
    """One type of command."""

    type: str
    context: str
    scope: str = Field(description="The scope that sending it needs.")
    allowed: bool = Field(description="Whether this request's identity has that scope.")
    description: str = Field(description="What it is, in a sentence or two.")


class CommandTypes(BaseModel):
    items: list[CommandTypeView]


class CommandTypeDetail(CommandTypeView):
    data_schema: dict[str, Any] = Field(description="The JSON Schema of its data, complete in itself (2020-12).")


class Valid(BaseModel):
    """The data fit the contract. Whether the command would be accepted depends on the state of its stream as well."""

    valid: bool = True


@dataclass
class ValidateOperation(Operation):
    """The body is an object of the command's own shape."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(
            {"application/json": OpenAPIMediaType(schema=Schema(type=OpenAPIType.OBJECT))}, required=True
        )
        for response in (self.responses or {}).values():
            if isinstance(response, OpenAPIResponse):
                response.headers = None


_NO_TYPE: Final = problem_response(
    404, "There is no such command.", "unknown-command", "there is no command orders.buy", "/command-types/orders.buy"
)


@get("/command-types", needs=AUTHENTICATED, responses=UNREAD, tags=["operations"], summary="Types of commands")
async def command_types(request: QueryRequest) -> Response[CommandTypes]:
    """Every type of command that there is, and whether one may send it."""
    items = [CommandTypeView(**_described(request, name, model)) for name, model in COMMANDS.items()]
    body = CommandTypes(items=items).model_dump_json().encode()
    return conditional_response(request, body, {"Vary": "Authorization"})


@get(
    "/command-types/{command_type:str}",
    needs=AUTHENTICATED,
    responses={**UNREAD, 404: _NO_TYPE},
    tags=["operations"],
    summary="One type of command, with the JSON Schema of its data",
)
async def command_type(request: QueryRequest, command_type: TypeName) -> Response[CommandTypeDetail]:
    """A command may also be refused for rules that a schema cannot express."""
    model = _named(command_type)
    view = CommandTypeDetail(**_described(request, command_type, model), data_schema=model.model_json_schema())
    return conditional_response(request, view.model_dump_json().encode(), {"Vary": "Authorization"})


@post(
    "/command-types/{command_type:str}/validate",
    needs=AUTHENTICATED,
    operation_class=ValidateOperation,
    responses={
        200: ResponseSpec(Valid, description="The data fit the contract.", generate_examples=False),
        404: _NO_TYPE,
        **{status: ACTION_RESPONSES[status] for status in (400, 413, 415, 422)},
    },
    status_code=200,
    request_max_body_size=MAX_MESSAGE_BYTES,
    tags=["operations"],
    summary="Whether data fit a type of command",
)
async def validate(request: QueryRequest, command_type: TypeName) -> Response[Valid]:
    """The body is the command's data. 422 names each field that does not fit. Nothing is sent."""
    model = _named(command_type)
    data = await json_object(request, exact=command_type in EXACT_NUMBERS)
    try:
        model.model_validate(data)
    except ValidationError as error:
        raise invalid([FieldError(one["field"], one["message"]) for one in describe(error, model)]) from error
    return Response(Valid())


def _described(request: QueryRequest, name: str, model: type[CommandData]) -> dict[str, Any]:
    scope = of_command(name)
    return {
        "type": name,
        "context": name.partition(".")[0],
        "scope": scope,
        "allowed": identity_of(request).may(scope),
        "description": " ".join((model.__doc__ or "").split()),
    }


def _named(command_type: str) -> type[CommandData]:
    """Raises Problem 404."""
    model = COMMANDS.get(command_type)
    if model is None:
        raise Problem(f"there is no command {command_type}", status=404, code="unknown-command")
    return model


ROUTES: Final = (
    command_types,
    command_type,
    validate,
)
