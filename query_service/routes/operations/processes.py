"""Processes: lists, and one process with all that it has been given and has sent. Acts are sent with ``tidemark processes``."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from asyncpg import Record
from litestar import Response
from litestar.params import PathParameter, QueryParameter
from pydantic import BaseModel, Field
from pydantic_core import from_json

from query_service.http.conditional import conditional_response
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.problems import InvalidParameterError, NotFoundError
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.stores.postgres_store import PostgresStore
from shared.processes import NAMES
from shared.views.processes import (
    FIGURES,
    HISTORY,
    HISTORY_PAGE,
    KNOWN,
    LATEST,
    MAX_INPUT,
    MAX_NUMBER,
    PROCESS,
    PROCESSES_PAGE,
    SENT_COMMANDS,
    TIMERS_SET,
    InputView,
    ProcessDetail,
    ProcessFigures,
    ProcessStatus,
    ProcessView,
)

ProcessName = Annotated[
    str | None,
    QueryParameter(max_length=100, description=f"A process manager: {', '.join(NAMES) or 'there is none yet'}."),
]
State = Annotated[ProcessStatus | None, QueryParameter(name="state", description="Only processes with this status.")]
WaitingFor = Annotated[
    str | None,
    QueryParameter(max_length=300, description="Only processes that wait for this, as `waiting_for` has it."),
]
ProcessId = Annotated[
    str, PathParameter(description="The process's id, as its process manager chose it: e.g. the order's.")
]

JSON_COLUMNS: Final = ("waiting_for", "failure", "state", "data", "body", "outcome")


class Figures(BaseModel):
    items: list[ProcessFigures] = Field(description="One for each process manager.")


class InputKey(SortKey, frozen=True):
    number: Annotated[int, msgspec.Meta(ge=1, le=MAX_INPUT)]


class ProcessKey(SortKey, frozen=True):
    name: str
    number: Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]


@read_route("/processes", needs="processes:read", tags=["operations"], summary="Processes, the latest first")
async def processes(
    request: QueryRequest,
    name: ProcessName = None,
    state_: State = None,
    waiting_for: WaitingFor = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[ProcessView]]:
    """Processes of one process manager, or of all, one process manager after another; the latest first."""
    query = ListQuery("processes", name, state_, waiting_for)
    after = query.key(cursor, ProcessKey) if cursor else None
    names = [each for each in _chosen(name) if after is None or each >= after.name]
    found: list[tuple[str, Record]] = []
    headers: Mapping[str, str] = {}
    for each in names:
        store, headers = await request.read(request.stores.process_manager(each))
        below = after.number if after is not None and after.name == each else MAX_NUMBER
        rows = await store.fetch(PROCESSES_PAGE, state_, waiting_for, below, limit + 1 - len(found))
        found += [(each, row) for row in rows]
        if len(found) > limit:
            break
    following = None
    if len(found) > limit:
        last_name, last = found[limit - 1]
        following = query.cursor(ProcessKey(last_name, last["number"]))
    items = (ProcessView(**_fields(each, row)).model_dump_json() for each, row in found[:limit])
    return conditional_response(request, page(items, following), headers if len(names) == 1 else {})


@read_route(
    "/processes/figures",
    needs="processes:read",
    tags=["operations"],
    summary="What waits in each process manager, and what is late",
)
async def process_figures(request: QueryRequest) -> Response[Figures]:
    """For dashboards and alerts: failed processes, overdue timers, commands without an outcome."""
    figures = []
    for name in NAMES:
        store, _ = await request.read(request.stores.process_manager(name))
        (row,) = await store.fetch(FIGURES)
        figures.append(ProcessFigures(name=name, **row))
    return conditional_response(request, Figures(items=figures).model_dump_json().encode(), {})


@read_route(
    "/processes/{process_id:str}",
    needs="processes:read",
    one=True,
    tags=["operations"],
    summary="One process, with its history and its commands",
)
async def process(request: QueryRequest, process_id: ProcessId, name: ProcessName = None) -> Response[ProcessDetail]:
    """Its state, what it waits for, its timers, its latest inputs, and the commands it has sent with their outcomes.

    All inputs: `/processes/{process_id}/history`. `name` is needed only where several process managers have a process with this id.
    """
    owner, store, headers = await _owner(request, process_id, name)
    row = await store.fetchrow(PROCESS, process_id)
    if row is None:
        raise NotFoundError("process", process_id, headers)
    detail = _fields(owner, row)
    for field, statement, arguments in (
        ("timers", TIMERS_SET, (process_id,)),
        ("history", HISTORY, (process_id, LATEST)),
        ("commands", SENT_COMMANDS, (process_id, LATEST)),
    ):
        detail[field] = [_plain(one) for one in await store.fetch(statement, *arguments)]
    return conditional_response(request, ProcessDetail(**detail).model_dump_json().encode(), headers)


@read_route(
    "/processes/{process_id:str}/history",
    needs="processes:read",
    one=True,
    tags=["operations"],
    summary="What a process was given, the latest first",
)
async def process_history(
    request: QueryRequest,
    process_id: ProcessId,
    name: ProcessName = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[Page[InputView]]:
    """All inputs of a process, page by page. `name` is needed only where several process managers have a process with this id."""
    query = ListQuery("process-history", process_id, name)
    below = query.key(cursor, InputKey).number if cursor else MAX_INPUT
    _, store, headers = await _owner(request, process_id, name)
    rows = await store.fetch(HISTORY_PAGE, process_id, below, limit + 1)
    following = query.cursor(InputKey(rows[limit - 1]["number"])) if len(rows) > limit else None
    items = (InputView(**_plain(row)).model_dump_json() for row in rows[:limit])
    return conditional_response(request, page(items, following), headers)


async def _owner(
    request: QueryRequest, process_id: str, name: str | None
) -> tuple[str, PostgresStore, Mapping[str, str]]:
    """The process manager that has this process, and its store. Raises NotFoundError and InvalidParameterError."""
    found: dict[str, tuple[PostgresStore, Mapping[str, str]]] = {}
    headers: Mapping[str, str] = {}
    for each in _chosen(name):
        store, headers = await request.read(request.stores.process_manager(each))
        row = await store.fetchrow(KNOWN, process_id)
        if row is not None and row["known"]:
            found[each] = (store, headers)
    if not found:
        raise NotFoundError("process", process_id, headers)
    if len(found) > 1:
        raise InvalidParameterError("name", f"several process managers have a process {process_id}: {', '.join(found)}")
    ((owner, (store, headers)),) = found.items()
    return owner, store, headers


def _chosen(name: str | None) -> Sequence[str]:
    """The process managers that are asked, in the order of their names. Raises InvalidParameterError."""
    if name is None:
        return sorted(NAMES)
    if name not in NAMES:
        raise InvalidParameterError(
            "name", f"there is no process manager {name}; there are {', '.join(NAMES) or 'none'}"
        )
    return [name]


def _fields(name: str, row: Record) -> dict[str, Any]:
    return {"name": name, **_plain(row)}


def _plain(row: Record) -> dict[str, Any]:
    return {
        column: from_json(value) if column in JSON_COLUMNS and value is not None else value
        for column, value in row.items()
    }


ROUTES: Final = (processes, process_figures, process, process_history)
