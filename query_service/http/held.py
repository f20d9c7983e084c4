"""Why a document is not up to date, or not there: its projection holds the stream, and which dead letter says why."""

from typing import Final

import msgspec

from query_service.http.requests import QueryRequest
from query_service.stores.postgres_store import PostgresStore
from shared.views.summary import HeldView

HELD: Final = "SELECT reason, CASE WHEN status = 'dead' THEN version END AS dead_version FROM held WHERE stream = $1"


class HeldBy(HeldView):
    """Why a later event of the stream has not been applied yet, and its dead letter, if there is one."""

    letter_id: int | None = None
    """Only if ``dead``; absent also while the operations database does not have the letter yet or is unavailable."""
    letter: str | None = None
    """The letter's path: ``/dead-letters/<id>``."""


async def why_held(request: QueryRequest, store: PostgresStore, stream: str) -> str | None:
    """Why a stream has no document yet, and where to look; None if the projection does not hold it."""
    held = await store.fetchrow(HELD, stream)
    if held is None:
        return None
    letter_id = await _letter(request, store, stream, held["dead_version"])
    return f"{held['reason']}; see /dead-letters/{letter_id}" if letter_id else str(held["reason"])


async def with_letter(
    request: QueryRequest, store: PostgresStore, stream: str, body: str, dead_version: int | None
) -> bytes:
    """The document ``body`` with the dead letter under ``held``. ``dead_version``: that of the dead event that holds the stream, if any."""
    letter_id = await _letter(request, store, stream, dead_version)
    if letter_id is None:
        return body.encode()
    document = msgspec.json.decode(body)
    document["held"] |= {"letter_id": letter_id, "letter": f"/dead-letters/{letter_id}"}
    return msgspec.json.encode(document)


async def _letter(request: QueryRequest, store: PostgresStore, stream: str, dead_version: int | None) -> int | None:
    if dead_version is None:
        return None
    return await request.stores.operations.holding(store.projection, stream, dead_version)
