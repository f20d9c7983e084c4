"""Routes whose answers are kept while that pays: ``read_route(…, cached=Cached("<read model>"))`` is all that a route needs.

An answer depends on the path, the query string, ``Accept`` and the generation that is active. It is kept as a whole, without what one
client alone asked for: ``If-None-Match`` is compared for each client. A request with consistency tokens is always read afresh, and drops
what was kept, so that its client does not see an older answer afterwards. See ``query_service.stores.answer_cache`` for how long.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from litestar import Response

from query_service.consistency import tokens
from query_service.http.conditional import WHOLE, not_modified
from query_service.http.requests import QueryRequest
from query_service.stores.answer_cache import Answer, Key

Handler = Callable[..., Awaitable[Response[Any]]]

ACCEPT: Final = "accept"


@dataclass(frozen=True, slots=True)
class Cached:
    """``projection``: the read model that the answer is read from, or which one it is for these parameters.

    ``stream``: the pattern of a stream whose change messages drop the answer, with the names of path parameters in braces.
    """

    projection: str | Callable[[Mapping[str, Any]], str]
    stream: str | None = None


async def answer_from_cache(cached: Cached, handler: Handler, given: Mapping[str, Any]) -> Response[Any]:
    """The response of ``handler`` called with ``given``, or the same as another request was answered with. Raises what it raises."""
    request: QueryRequest = given["request"]
    projection = cached.projection if isinstance(cached.projection, str) else cached.projection(given)
    active = request.stores.of(projection)
    generation = (await active.store()).number
    headers = request.headers
    query = request.scope["query_string"].decode("latin-1")
    key = Key(projection, generation, (request.scope["path"], query, headers.get(ACCEPT, "")))
    answers = request.stores.answers
    if headers.getall(tokens.HEADER, []):
        response = await handler(**given)
        answers.drop(key)
        return response

    async def read() -> Answer:
        request.scope[WHOLE] = True  # type: ignore[typeddict-unknown-key]  # a key of our own
        response = await handler(**given)
        return Answer(response.content, response.media_type, response.headers)

    streams = () if cached.stream is None else (cached.stream.format_map(given),)
    answer = await answers.get(key, streams, read)
    return not_modified(request, answer.headers) or Response(
        answer.body, media_type=answer.media_type, headers=dict(answer.headers)
    )
