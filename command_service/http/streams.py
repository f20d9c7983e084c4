"""``GET /streams/{kind}/{id}``: a stream's state and version exactly now, and its events, from the write database. For operators only.

Everything else is read from the query service, which scales and can wait for a write. This is for the rare caller that may not wait at
all, or that has to see what a decision sees. The state is the aggregate's own: its shape follows the code, and is no contract.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from asyncpg import Record
from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from command_service.domain.aggregate import Aggregate
from command_service.domain.aggregates import AGGREGATES
from command_service.http.openapi import STREAMS_TAG, problem
from command_service.http.responses import consistency_header
from command_service.http.stream_reading import StreamReader
from shared.contracts.values import A_TIME, Id, Timestamp
from shared.http.etags import etag, matches
from shared.http.problems import FieldError, Problem

BY_KIND: Final[Mapping[str, Aggregate]] = {aggregate.kind: aggregate for aggregate in AGGREGATES}
RESPONSES: Final = {
    304: ResponseSpec(None, description="It is still the one that `If-None-Match` names.", generate_examples=False),
    400: problem("The id is none."),
    404: problem("There is no such kind, or no such stream."),
    500: problem("The stored state is of older code, and replaying the stream's events failed."),
    503: problem("The write database is unavailable. Retry-After says when to try again."),
}

AN_ID: Final = "an id has 1 to 128 letters, digits or . _ : ~ @ + = -"
_ID: Final[TypeAdapter[str]] = TypeAdapter(Id)
_TIMESTAMP: Final[TypeAdapter[datetime]] = TypeAdapter(Timestamp)
MAX_VERSION: Final = 2**53


class StreamView(BaseModel):
    """A stream as the next decision about it would see it."""

    stream: str
    version: int
    state: dict[str, Any]


class DecidedCommand(BaseModel):
    """The command that an event comes from, and its outcome, which its sender has received."""

    command_type: str
    source: str
    decided_at: datetime
    outcome: dict[str, Any] = Field(description="As `GET /commands/{id}` has it.")


class StreamEvent(BaseModel):
    """An event as it is stored; its data have the shape of its schema version."""

    version: int
    type: str
    schema_version: int
    time: datetime
    command_id: str
    correlation_id: str
    actor: str | None
    behind: str | None
    traceparent: str | None
    command: DecidedCommand | None = Field(description="Null: its outcome is not kept any more.")
    data: dict[str, Any]


class StreamEvents(BaseModel):
    stream: str
    items: list[StreamEvent]
    next_after: int | None


@dataclass(frozen=True)
class Streams:
    reader: StreamReader


@get(
    "/streams/{kind:str}/{stream_id:str}",
    needs="streams:read",
    raises=[],
    responses=RESPONSES,
    tags=[STREAMS_TAG],
    summary="A stream's state and version, exactly now or as of a time",
)
async def get_stream(
    request: Request[Any, Any, State],
    state: State,
    kind: Annotated[str, PathParameter(description="The kind of stream.", examples=[Example(value="orders")])],
    stream_id: Annotated[str, PathParameter(description="The id in it.", examples=[Example(value="o-1")])],
    at: Annotated[
        str | None,
        QueryParameter(
            max_length=40, description="RFC 3339: the stream as it was then, its events until then replayed."
        ),
    ] = None,
) -> Response[StreamView]:
    """The state that the next command for this stream would be decided on, and its version, in one read of the write database.

    Use it where no other answer will do: it costs the database that decides commands, and nobody is served from a cache. `state` is
    internal: its fields follow the code, and may change with any release. For everything else there is the query service; with the
    `Tidemark-Consistency` of this response it shows this version or a later one.

    With `at`, the events until that time are replayed by the rules of today: what a decision would have seen then, under these rules.
    """
    aggregate, stream = _named(kind, stream_id)
    streams: Streams = state.streams
    found = await streams.reader.read(stream, aggregate, _time("at", at))
    if found is None:
        when = "at this moment" if at is None else "as of that time"
        raise Problem(f"there is no stream {stream}, {when}", status=404, code="stream-not-found")
    body = msgspec.json.encode({"stream": stream, "version": found.version, "state": found.state})
    return _answer(request, stream, found.version, body)


@get(
    "/streams/{kind:str}/{stream_id:str}/events",
    needs="streams:read",
    raises=[],
    responses={status: each for status, each in RESPONSES.items() if status != 500},
    tags=[STREAMS_TAG],
    summary="A stream's events, as they are stored",
)
async def get_stream_events(
    request: Request[Any, Any, State],
    state: State,
    kind: Annotated[str, PathParameter(description="The kind of stream.", examples=[Example(value="orders")])],
    stream_id: Annotated[str, PathParameter(description="The id in it.", examples=[Example(value="o-1")])],
    after: Annotated[int, QueryParameter(ge=0, le=MAX_VERSION, description="Only events after this version.")] = 0,
    until: Annotated[
        str | None,
        QueryParameter(max_length=40, description="Only events until this time, RFC 3339: the stream as of then."),
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200, description="At most so many.")] = 50,
) -> Response[StreamEvents]:
    """Each event with the command that it comes from, and that command's outcome. Texts of persons are sealed.

    `next_after` is the `after` of the next page.
    """
    _, stream = _named(kind, stream_id)
    streams: Streams = state.streams
    rows = await streams.reader.events(stream, after, _time("until", until), limit + 1)
    if not rows and not after and until is None:
        raise Problem(f"there is no stream {stream}, at this moment", status=404, code="stream-not-found")
    items = [_event(row) for row in rows[:limit]]
    following = rows[limit - 1]["version"] if len(rows) > limit else None
    body = StreamEvents(stream=stream, items=items, next_after=following).model_dump_json().encode()
    return _answer(request, stream, items[-1].version if items else after, body)


def _event(row: Record) -> StreamEvent:
    envelope = from_json(row["envelope"])
    command = None
    if row["outcome"] is not None:
        outcome = from_json(row["outcome"])
        command = DecidedCommand(**{**row, "outcome": outcome})
    return StreamEvent(
        version=envelope["streamversion"],
        type=envelope["type"],
        schema_version=envelope["schemaversion"],
        time=envelope["time"],
        command_id=envelope["causationid"],
        correlation_id=envelope["correlationid"],
        actor=envelope.get("actor"),
        behind=envelope.get("behind"),
        traceparent=envelope.get("traceparent"),
        command=command,
        data=envelope["data"],
    )


def _time(name: str, text: str | None) -> datetime | None:
    """Raises Problem 400."""
    if text is None:
        return None
    try:
        return _TIMESTAMP.validate_python(text)
    except ValidationError as error:
        raise Problem(
            f"{name}: {A_TIME}", status=400, code="invalid-parameter", errors=[FieldError(name, A_TIME)]
        ) from error


def _named(kind: str, stream_id: str) -> tuple[Aggregate, str]:
    """The kind's aggregate, and the stream's name. Raises Problem."""
    aggregate = BY_KIND.get(kind)
    if aggregate is None:
        detail = f"there is no kind of stream {kind[:100]!r}; there are {', '.join(sorted(BY_KIND))}"
        raise Problem(detail, status=404, code="unknown-kind")
    try:
        _ID.validate_python(stream_id)
    except ValidationError as error:
        errors = [FieldError("stream_id", AN_ID)]
        raise Problem(f"stream_id: {AN_ID}", status=400, code="invalid-parameter", errors=errors) from error
    return aggregate, f"{kind}/{stream_id}"


def _answer(request: Request[Any, Any, State], stream: str, version: int, body: bytes) -> Response[Any]:
    tag = etag(body, version)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", **consistency_header(stream, version)}
    known = matches(request.headers.get("if-none-match"), tag)
    content: Any = None if known else body
    return Response(content, status_code=304 if known else 200, media_type="application/json", headers=headers)
