"""Event streams of updates: ``GET /events`` (server-sent events) and ``/events/ws`` (the same over WebSocket).

An idle connection costs a task and an empty queue. The queue of a slow reader is replaced by a ``reset`` when it is full, so the memory
of one connection is bounded by its queue and one write.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final

from litestar import Response, WebSocket, get, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIResponse, OpenAPIType, Operation, Parameter, Schema
from litestar.params import QueryParameter
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send
from pydantic import BaseModel

from query_service.consistency.tokens import stream_name
from query_service.http.openapi import INVALID, problem_response
from query_service.http.parameters import REPEATABLE, validate_parameters
from query_service.http.problems import InvalidParameterError
from query_service.http.requests import HEAD, QueryRequest
from query_service.live.broadcast import Broadcast
from query_service.live.listener_limits import Listeners, occupy_slot
from query_service.live.stream_session import JsonMessages, ServerSentEvents, StreamSession
from query_service.live.updates import Filter
from shared.contracts.registry import CONTEXT_OF_KIND, KINDS
from shared.http.identities.guard import Needs, is_still_allowed
from shared.http.identities.identity import AnyConnection
from shared.messaging import topology

MAX_STREAMS: Final = 100

LAST_ID: Final = "Last-Event-ID"
GOING_AWAY: Final = 1001
INVALID_REQUEST: Final = 4400
"""Close code of a WebSocket with invalid parameters, which over HTTP get a 400; the close reason has the detail (RFC 6455 §7.4)."""
MAX_REASON: Final = 123

Allowed = Callable[[], Awaitable[bool]]
"""Whether the reader may read now."""

Streams = Annotated[
    list[str] | None,
    QueryParameter(
        name="stream",
        description="Only this stream, `<kind>/<id>`; may be repeated.",
        examples=[Example(value=["orders/o-17"])],
    ),
]
Kinds = Annotated[
    list[str] | None,
    QueryParameter(
        name="kind",
        description=f"Only streams of this kind: {', '.join(KINDS)}; may be repeated.",
    ),
]
Projections = Annotated[
    list[str] | None,
    QueryParameter(
        name="projection",
        description=f"Only updates of this projection: {', '.join(topology.PROJECTORS)}; may be repeated.",
    ),
]
LastId = Annotated[
    str | None,
    QueryParameter(max_length=100, description="Resume after this event. The header `Last-Event-ID` takes precedence."),
]


class LiveEvent(BaseModel):
    """The data of an event; only `advanced` and `held` have ``stream`` and ``version``."""

    projection: str
    generation: int
    stream: str | None = None
    version: int | None = None


@dataclass
class EventsOperation(Operation):
    """An event stream has no ETag. The handler reads the header ``Last-Event-ID`` itself."""

    def __post_init__(self) -> None:
        text = Schema(type=OpenAPIType.STRING)
        description = "The id of the last event read: resume after it."
        self.parameters = [*(self.parameters or []), Parameter(LAST_ID, "header", text, description=description)]
        for response in (self.responses or {}).values():
            if isinstance(response, OpenAPIResponse):
                response.headers = None


_STREAM: Final = ResponseSpec(
    LiveEvent,
    generate_examples=False,
    media_type="text/event-stream",
    description="Events as they occur: `advanced` and `held` (a stream, to or at a version), `activated` (queries are answered from"
    " another generation), `reset` (updates may have been missed: query displayed data again and continue from here), `ready`.",
    examples=[
        Example(
            summary="advanced",
            value='id: 5f0c2a9b-17\nevent: advanced\ndata: {"projection":"summary","generation":1,"stream":"orders/o-17","version":3}\n\n',
        )
    ],
)
_TOO_MANY: Final = problem_response(
    429,
    "The limit of event streams is reached, for this identity (or address) or in total. Retry-After states when to retry.",
    "too-many-listeners",
    "2500 event streams of one client are the most there may be",
    "/events",
)


def _contexts_of(connection: AnyConnection) -> Sequence[str]:
    """The scopes of all kinds of stream that are asked for: those of the named streams, else the named kinds, else all kinds."""
    kinds = [stream.partition("/")[0] for stream in connection.query_params.getall("stream", [])]
    wanted = kinds or connection.query_params.getall("kind", []) or KINDS
    return sorted({f"queries:{CONTEXT_OF_KIND.get(kind, '*')}" for kind in wanted})


OF_KINDS: Final = Needs(
    _contexts_of, "queries:<context> of each kind of stream asked for; of all without `stream` and `kind`"
)
_REPEATABLE: Final = {REPEATABLE: frozenset({"stream", "kind", "projection"})}


@get(
    "/events",
    needs=OF_KINDS,
    responses={200: _STREAM, 400: INVALID, 429: _TOO_MANY},
    opt=_REPEATABLE,
    operation_class=EventsOperation,
    tags=["live"],
    summary="Updates of the read models, as they occur",
)
async def events(
    request: QueryRequest,
    stream: Streams = None,
    kind: Kinds = None,
    projection: Projections = None,
    last_event_id: LastId = None,
) -> Response[LiveEvent]:
    """Server-sent events: each advance of a stream in the active generation of each projection, and each hold.

    An event only states that a stream has changed. To get the data, query with its stream and version as `Tidemark-Consistency`.
    Filters of different names must all match. After 15 seconds without an event a comment is sent. Resume with `Last-Event-ID`; if that
    is not possible, and whenever updates may have been missed, a `reset` is sent. `/events/ws` sends the same as JSON messages over
    WebSocket. Both end soon after their credential is no longer valid.
    """
    wanted = _filter(stream, kind, projection)
    listeners: Listeners = request.app.state.listeners
    last_id = request.headers.get(LAST_ID) or last_event_id
    return EventStream(listeners, request.stores.broadcast, wanted, last_id, partial(is_still_allowed, request))


@websocket("/events/ws", guards=[occupy_slot], needs=OF_KINDS, opt=_REPEATABLE)
async def events_ws(
    socket: WebSocket[Any, Any, Any],
    stream: Streams = None,
    kind: Kinds = None,
    projection: Projections = None,
    last_event_id: LastId = None,
) -> None:
    """The same over WebSocket: messages {id?, event, data}; filters and `last_event_id` in the query string.

    Above the limit of listeners, the handshake has been answered with 429 before this is called.
    """
    await socket.accept()
    try:
        validate_parameters(socket, socket.route_handler)
        wanted = _filter(stream, kind, projection)
    except InvalidParameterError as error:
        await socket.close(INVALID_REQUEST, error.detail.encode()[:MAX_REASON].decode(errors="ignore"))
        return
    broadcast: Broadcast = socket.app.state.stores.broadcast

    async def send(messages: Sequence[str]) -> None:
        try:
            for message in messages:
                await socket.send_text(message)
        except asyncio.CancelledError as error:  # raised by the server after a disconnect
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise WebSocketDisconnect(detail="gone") from error

    async def disconnected() -> None:
        with suppress(WebSocketDisconnect):
            while True:  # ignore whatever the client sends
                await socket.receive_data("text")

    with suppress(WebSocketDisconnect):
        allowed = partial(is_still_allowed, socket)
        session = StreamSession(broadcast, JsonMessages(), send=send, disconnected=disconnected, allowed=allowed)
        if not await session.run(wanted, last_event_id):
            await socket.close(GOING_AWAY)


class EventStream(Response[Any]):
    """A response that lasts until its reader disconnects, may read no longer, or the process stops."""

    def __init__(
        self, listeners: Listeners, broadcast: Broadcast, wanted: Filter, last_id: str | None, allowed: Allowed
    ) -> None:
        super().__init__(None)
        self._arguments = listeners, broadcast, wanted, last_id, allowed

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        return _EventStreamResponse(*self._arguments)


class _EventStreamResponse(ASGIResponse):
    def __init__(
        self, listeners: Listeners, broadcast: Broadcast, wanted: Filter, last_id: str | None, allowed: Allowed
    ) -> None:
        super().__init__(
            media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        del self.headers["content-length"]
        self._listeners = listeners
        self._broadcast = broadcast
        self._wanted = wanted
        self._last_id = last_id
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def write(messages: Sequence[bytes]) -> None:
            await send({"type": "http.response.body", "body": b"".join(messages), "more_body": True})

        async def disconnected() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        with self._listeners.slot(scope):
            await self.start_response(send)
            if HEAD not in scope:
                session = StreamSession(
                    self._broadcast,
                    ServerSentEvents(),
                    send=write,
                    disconnected=disconnected,
                    allowed=self._allowed,
                )
                await session.run(self._wanted, self._last_id)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _filter(streams: list[str] | None, kinds: list[str] | None, projections: list[str] | None) -> Filter:
    """Raises InvalidParameterError."""
    if streams and len(streams) > MAX_STREAMS:
        raise InvalidParameterError("stream", f"is given more than {MAX_STREAMS} times")
    return Filter(
        frozenset(stream_name("stream", stream) for stream in streams or ()),
        frozenset(_one_of("kind", kind, KINDS) for kind in kinds or ()),
        frozenset(_one_of("projection", projection, topology.PROJECTORS) for projection in projections or ()),
    )


def _one_of(parameter: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise InvalidParameterError(parameter, f"must be one of {', '.join(allowed)}")
    return value


ROUTES: Final = (
    events,
    events_ws,
)
