"""``GET /streams/{kind}/{id}``: a stream's state and version exactly now, from the write database. For operators; the exception.

Everything else is read from the query service, which scales and can wait for a write. This is for the rare caller that may not wait at
all, or that has to see what a decision sees. The state is the aggregate's own: its shape follows the code, and is no contract.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import PathParameter
from pydantic import BaseModel, TypeAdapter, ValidationError

from command_service.domain.aggregate import Aggregate
from command_service.domain.aggregates import AGGREGATES
from command_service.http.openapi import STREAMS_TAG, problem
from command_service.http.responses import consistency_header
from command_service.http.stream_reading import StreamReader
from shared.contracts.values import Id
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


class StreamView(BaseModel):
    """A stream as the next decision about it would see it."""

    stream: str
    version: int
    state: dict[str, Any]


@dataclass(frozen=True)
class Streams:
    reader: StreamReader


@get(
    "/streams/{kind:str}/{stream_id:str}",
    needs="streams:read",
    raises=[],
    responses=RESPONSES,
    tags=[STREAMS_TAG],
    summary="A stream's state and version, exactly now",
)
async def get_stream(
    request: Request[Any, Any, State],
    state: State,
    kind: Annotated[str, PathParameter(description="The kind of stream.", examples=[Example(value="orders")])],
    stream_id: Annotated[str, PathParameter(description="The id in it.", examples=[Example(value="o-1")])],
) -> Response[StreamView]:
    """The state that the next command for this stream would be decided on, and its version, in one read of the write database.

    Use it where no other answer will do: it costs the database that decides commands, and nobody is served from a cache. `state` is
    internal: its fields follow the code, and may change with any release. For everything else there is the query service; with the
    `Tidemark-Consistency` of this response it shows this version or a later one.
    """
    aggregate = BY_KIND.get(kind)
    if aggregate is None:
        detail = f"there is no kind of stream {kind[:100]!r}; there are {', '.join(sorted(BY_KIND))}"
        raise Problem(detail, status=404, code="unknown-kind")
    try:
        _ID.validate_python(stream_id)
    except ValidationError as error:
        errors = [FieldError("stream_id", AN_ID)]
        raise Problem(f"stream_id: {AN_ID}", status=400, code="invalid-parameter", errors=errors) from error
    streams: Streams = state.streams
    stream = f"{kind}/{stream_id}"
    found = await streams.reader.read(stream, aggregate)
    if found is None:
        raise Problem(f"there is no stream {stream}, at this moment", status=404, code="stream-not-found")
    body = msgspec.json.encode({"stream": stream, "version": found.version, "state": found.state})
    tag = etag(body, found.version)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", **consistency_header(stream, found.version)}
    known = matches(request.headers.get("if-none-match"), tag)
    content: Any = None if known else body
    return Response(content, status_code=304 if known else 200, media_type="application/json", headers=headers)
