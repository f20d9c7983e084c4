"""Resending reads what is wanted, in order, page by page, and looks at nothing else in the event store."""

import json
from datetime import UTC, datetime
from typing import Any

import asyncpg

from command_service import resend
from command_service.resend import EVENTS_FROM, Resender
from shared.broker import Outgoing
from shared.contracts.control import RESEND, Request, Resend, StreamFrom
from shared.contracts.envelope import split
from shared.settings import Settings

FILL = """
INSERT INTO events (stream, version, envelope)
SELECT 'orders/' || n, v, json_build_object('type', 'x', 'subject', 'orders/' || n, 'streamversion', v)
FROM generate_series($1::int, $2::int) AS n, generate_series(1, $3::int) AS v
"""


class Sent:
    """A publisher that keeps what it is given, by stream."""

    def __init__(self) -> None:
        self.versions: dict[str, list[int]] = {}

    async def publish(self, message: Outgoing) -> None:
        assert message.routing_key.startswith("summary.lane.")
        for event in split(message.body):
            self.versions.setdefault(event["subject"], []).append(event["streamversion"])


async def test_every_stream_comes_whole_and_in_order_however_long_it_is(
    write_db: asyncpg.Connection, migrated: Settings
) -> None:
    await write_db.execute(FILL, 1, 40, 1)
    await write_db.execute(FILL, 41, 60, 5)
    await write_db.execute(FILL, 61, 62, 2 * resend.PAGE + 7)
    sent: Any = Sent()
    nobody: Any = None
    resender = Resender(migrated.write_db_url, nobody, sent, lanes=4)
    wanted = tuple(StreamFrom(stream=f"orders/{n}", version=3 if n > 40 else 1) for n in range(1, 63))
    asked = Resend(projection="summary", streams=(*wanted, StreamFrom(stream="orders/61", version=9)))
    try:
        await resender._until_done(
            Request[Resend](id="r", source="tests", type=RESEND, time=datetime.now(UTC), data=asked)
        )
    finally:
        await resender.close()
    expected = {f"orders/{n}": [1] for n in range(1, 41)} | {f"orders/{n}": [3, 4, 5] for n in range(41, 61)}
    expected |= {f"orders/{n}": list(range(3, 2 * resend.PAGE + 8)) for n in (61, 62)}
    assert sent.versions == expected


async def test_a_resend_costs_what_it_sends_whatever_statistics_say(write_db: asyncpg.Connection) -> None:
    await write_db.execute(FILL, 1, 100, 1)
    await write_db.execute("ANALYZE events")
    await write_db.execute(FILL, 101, 6000, 1)
    streams = [f"orders/{n}" for n in range(100, 6000, 60)]
    [[answer]] = await write_db.fetch(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {EVENTS_FROM}", streams, [1] * len(streams), resend.LEAST_OF_EACH
    )
    assert _most_rows(json.loads(answer)[0]["Plan"]) <= len(streams), answer


def _most_rows(node: dict[str, Any]) -> int:
    """Of any node of the plan, over all its loops."""
    own: int = node["Actual Rows"] * node["Actual Loops"]
    return max([own, *map(_most_rows, node.get("Plans", ()))])
