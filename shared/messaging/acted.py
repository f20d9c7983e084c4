"""The message by which a process that may not write to the operations database has an act recorded in the audit."""

from datetime import UTC, datetime
from uuid import uuid4

from shared.messages.control import ACTED, Acted, Request
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import Outgoing


def acted_message(act: Acted, source: str) -> Outgoing:
    """An act of the same projection, name, ``asked_at`` and ``request_id`` is recorded once. ``source``: who sends the message."""
    message = Request[Acted](id=f"acted/{uuid4()}", source=source, type=ACTED, time=datetime.now(UTC), data=act)
    body = message.model_dump_json(exclude_none=True).encode()
    return Outgoing(topology.CHANGES, topology.acted_key(act.projection), body, CONTENT_TYPE, type=ACTED)
