"""Acts on one process: each is an input of the process, given by the process managers, whose reply is the response.

POST ──identity, body──▶ [control] ──▶ process managers ──▶ reply queue ──▶ 200, or a problem with their code
"""

from typing import Annotated, Any, Final

from litestar import Response, post
from litestar.params import PathParameter
from pydantic import Field

from query_service.http import operators
from query_service.http.acting import Reasoned, body_of, require_acts_allowed
from query_service.http.operator_openapi import ALWAYS_DONE, ActionOperation
from query_service.http.requests import QueryRequest
from shared.messages.process_acts import ActName, ActOnProcess, ProcessActed
from shared.processes import NAMES

Id = Annotated[str, PathParameter(description="The process's id, as its process manager chose it: e.g. the order's.")]


class ProcessActBody(Reasoned):
    name: str = Field(max_length=100, description=f"Its process manager: {', '.join(NAMES)}.")


class ProcessActOperation(ActionOperation):
    act = ProcessActBody


_ACT: Final[dict[str, Any]] = {
    "needs": "processes:act",
    "operation_class": ProcessActOperation,
    "responses": ALWAYS_DONE,
    "status_code": 200,
    "tags": ["operations"],
}


@post("/processes/{process_id:str}/retry", summary="Retry a failed process", **_ACT)
async def retry_process(request: QueryRequest, process_id: Id) -> Response[ProcessActed]:
    """Give it the input that it failed on again, and then those that waited behind it."""
    return await _act(request, process_id, "retry")


@post("/processes/{process_id:str}/cancel", summary="Cancel a process", **_ACT)
async def cancel_process(request: QueryRequest, process_id: Id) -> Response[ProcessActed]:
    """Its rules decide what that means: it may undo what it has done before it ends."""
    return await _act(request, process_id, "cancel")


@post("/processes/{process_id:str}/compensate", summary="Have a process undo what it has done", **_ACT)
async def compensate_process(request: QueryRequest, process_id: Id) -> Response[ProcessActed]:
    """Its rules decide how."""
    return await _act(request, process_id, "compensate")


async def _act(request: QueryRequest, process_id: str, act: ActName) -> Response[ProcessActed]:
    given, request_id = await body_of(request, ProcessActBody), operators.request_id(request)
    values = {"manager": given.name, "process_id": process_id, "act": act, "reason": given.reason}
    asked = ActOnProcess.model_validate({**values, "actor": operators.acting(request)["actor"]})
    await require_acts_allowed(request)
    done = await request.operators.ask_process_manager(asked, request_id)
    return operators.answer(done.model_dump_json().encode(), request_id)


ROUTES: Final = (
    retry_process,
    cancel_process,
    compensate_process,
)
