"""Replays a stream's state from its events, if the stored state has another shape or meaning than the code.

The result is the state that the same events, upcast, produce with today's code; memory does not grow with the stream.
"""

from typing import Final

from pydantic_core import from_json

from command_service.domain.aggregate import Aggregate, State
from shared.contracts.registry import event_data
from shared.runtime.postgres import Connection

PAGE: Final = 500

EVENTS_UP_TO: Final = """
SELECT version, envelope FROM all_events WHERE stream = $1 AND version > $2 AND version <= $3 ORDER BY version LIMIT $4
"""


async def replay(connection: Connection, stream: str, aggregate: Aggregate, version: int) -> State | Exception:
    """The state after the event of that version; or the error, which only this stream's events can cause."""
    state: State | None = None
    reached = 0
    while reached < version:
        page = await connection.fetch(EVENTS_UP_TO, stream, reached, version, PAGE)
        if not page or page[0]["version"] != reached + 1:
            return LookupError(f"{stream} has no event {reached + 1}, and is at version {version}")
        try:
            for row in page:
                envelope = from_json(row["envelope"])
                state = aggregate.evolve(
                    state, event_data(envelope["type"], envelope["schemaversion"], envelope["data"])
                )
        except Exception as error:  # no error here may keep other streams' commands from being decided
            return error
        reached = page[-1]["version"]
    return state if state is not None else LookupError(f"{stream} has no events")
