"""Resending reads what is wanted, in order, page by page, and looks at nothing else in the event store."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from command_service.publishing import resend
from command_service.publishing.resend import EVENTS_FROM, Resender
from shared.messages.control import HEADS, RESEND, AskHeads, Request, Resend, StreamFrom
from shared.messages.envelope import split
from shared.messages.lanes import HEADS as ANSWER
from shared.messages.lanes import Heads
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from shared.messaging.consuming import Delivery
from shared.runtime.settings import Settings

FILL = """
INSERT INTO events (stream, version, envelope)
SELECT 'orders/' || n, v, json_build_object('type', 'x', 'subject', 'orders/' || n, 'streamversion', v)
FROM generate_series($1::int, $2::int) AS n, generate_series(1, $3::int) AS v
"""

OPEN = """
INSERT INTO streams (stream, kind, version, state, updated_at)
SELECT 'orders/' || n, 'orders', n, '{}', now() FROM generate_series(1, $1::int) AS n
"""
LANES = 4


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
        f"EXPLAIN (ANALYZE, FORMAT JSON) {EVENTS_FROM}", streams, [1] * len(streams), resend.MIN_PER_STREAM
    )
    assert _most_rows(json.loads(answer)[0]["Plan"]) <= len(streams), answer


class Answers:
    """A publisher that keeps answers about heads; the first of them is confirmed when an event has been sent."""

    def __init__(self) -> None:
        self.heads: list[Heads] = []
        self.events = asyncio.Event()

    async def publish(self, message: Outgoing) -> None:
        if message.type == ANSWER:
            self.heads.append(Heads.model_validate_json(message.body))
            await self.events.wait()
        else:
            self.events.set()


class Kept:
    """A publisher that keeps all messages."""

    def __init__(self) -> None:
        self.messages: list[Outgoing] = []

    async def publish(self, message: Outgoing) -> None:
        self.messages.append(message)


class Asked:
    """A consumer of these requests, which is told to stop when it has them all back."""

    def __init__(
        self,
        requests: Iterable[tuple[str, Request[Any]]],
        stopping: asyncio.Event,
        headers: Mapping[str, Any] | None = None,
    ) -> None:
        nowhere: Any = None
        self._waiting = [
            Delivery("", each.model_dump_json().encode(), headers or {}, "", key, "", None, False, tag, nowhere)
            for tag, (key, each) in enumerate(requests)
        ]
        self._open = {delivery.tag for delivery in self._waiting}
        self._stopping = stopping

    async def take(self, limit: int, *, timeout: float) -> list[Delivery]:  # noqa: ASYNC109 - as the real one
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        if not taken:
            await self._stopping.wait()
        return taken

    async def acknowledge(self, deliveries: Iterable[Delivery]) -> None:
        self._open -= {delivery.tag for delivery in deliveries}
        if not self._open:
            self._stopping.set()


async def served(
    settings: Settings,
    requests: Iterable[tuple[str, Request[Any]]],
    publisher: Any,
    headers: Mapping[str, Any] | None = None,
) -> None:
    """All of these have been answered, through ``publisher``."""
    stopping = asyncio.Event()
    consumer: Any = Asked(requests, stopping, headers)
    resender = Resender(settings.write_db_url, consumer, publisher, lanes=LANES)
    try:
        async with asyncio.timeout(20):
            await resender.run(stopping)
    finally:
        await resender.close()


async def test_heads_are_exact_and_whoever_wants_events_does_not_wait_for_them(
    write_db: asyncpg.Connection, migrated: Settings
) -> None:
    await write_db.execute(FILL, 1, 1, 1)
    await write_db.execute(OPEN, 2 * resend.PAGE + 7)
    await write_db.execute("INSERT INTO outbox (stream, hash, type, envelope) VALUES ('orders/9', 1, 'x', '{}')")
    now = datetime.now(UTC)
    lanes = [AskHeads(projection="summary", lane=lane, since=None) for lane in range(LANES)]
    events = Resend(projection="summary", streams=(StreamFrom(stream="orders/1", version=1),))
    requests: list[tuple[str, Request[Any]]] = [
        (topology.HEADS_KEY, Request[AskHeads](id=f"h{ask.lane}", source="tests", type=HEADS, time=now, data=ask))
        for ask in lanes
    ]
    requests += [(topology.RESEND_KEY, Request[Resend](id="r", source="tests", type=RESEND, time=now, data=events))]
    answers = Answers()
    await served(migrated, requests, answers)
    told = {stream: (version, page.lane) for page in answers.heads for stream, version in page.streams}
    expected = {f"orders/{n}": n for n in range(1, 2 * resend.PAGE + 8) if n != 9}
    assert told == {stream: (n, topology.lane_of(stream, LANES)) for stream, n in expected.items()}
    assert sorted(page.asked for page in answers.heads if page.last) == [f"h{lane}" for lane in range(LANES)]


@pytest.mark.parametrize("headers", [{}, {topology.AUTOMATIC_HEADER: True}], ids=["an operator", "a projection"])
async def test_what_is_sent_again_says_whether_an_operator_has_asked(
    write_db: asyncpg.Connection, migrated: Settings, headers: dict[str, Any]
) -> None:
    await write_db.execute(FILL, 1, 1, 1)
    sent = Kept()
    events = Resend(projection="summary", streams=(StreamFrom(stream="orders/1", version=1),))
    request = Request[Resend](id="r", source="tests", type=RESEND, time=datetime.now(UTC), data=events)
    await served(migrated, [(topology.RESEND_KEY, request)], sent, headers)
    [message] = sent.messages
    expected = {topology.KINDS_HEADER: "orders", **headers}
    assert {name: value for name, value in message.headers.items() if name != topology.EPOCH_HEADER} == expected


def _most_rows(node: dict[str, Any]) -> int:
    """Of any node of the plan, over all its loops."""
    own: int = node["Actual Rows"] * node["Actual Loops"]
    return max([own, *map(_most_rows, node.get("Plans", ()))])
