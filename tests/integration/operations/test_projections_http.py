"""Generations over HTTP: listed from the registries; acts reach the projector's queue, and its reply comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx

from deploy.servers.provide import Servers
from shared.messages.control import Activate, Rebuild, Request
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import Outgoing, Publisher
from shared.messaging.consuming import Consumer
from shared.runtime.settings import Settings
from shared.views.generations import (
    ACCEPTED,
    REJECTED,
    Generation,
    GenerationAnswer,
    GenerationRefused,
    GenerationsChanged,
    GenerationState,
)
from tests.integration.dead_letters.harness import Harness
from tests.integration.operations.conftest import client_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TWO = Generation(number=2, state=GenerationState.BUILDING, active=False, begun_at=NOW, updated_at=NOW)


@asynccontextmanager
async def projector(settings: Settings) -> AsyncIterator[list[Any]]:
    """Plays the summary's projector: accepts a rebuild, and refuses to activate what is not ready. Yields what it was asked."""
    asked: list[Any] = []
    consumer = Consumer(settings.rabbitmq_url, [topology.control_queue("summary")], prefetch=10, name="played")
    publisher = Publisher(settings.rabbitmq_url, "played")

    async def play() -> None:
        while True:
            for delivery in await consumer.take(10, timeout=0.2):
                result: GenerationsChanged | GenerationRefused
                if delivery.routing_key == "summary.rebuild":
                    request: Any = Request[Rebuild].model_validate_json(delivery.body)
                    result = GenerationsChanged(request_id=request.id, projection="summary", generations=[TWO])
                else:
                    request = Request[Activate].model_validate_json(delivery.body)
                    result = GenerationRefused(request_id=request.id, code="generation-not-ready", message="not yet")
                asked.append(request.data)
                kind: Any = ACCEPTED if isinstance(result, GenerationsChanged) else REJECTED
                answer = GenerationAnswer(id="a", source="test", type=kind, time=NOW, data=result)
                message = Outgoing(
                    topology.REPLIES,
                    delivery.reply_to,
                    answer.model_dump_json().encode(),
                    CONTENT_TYPE,
                    type=kind,
                    correlation_id=delivery.correlation_id,
                )
                await publisher.publish(message)
                await consumer.acknowledge([delivery])

    tasks = [asyncio.create_task(consumer.run()), asyncio.create_task(play())]
    yield asked
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await publisher.close()


async def test_generations_are_listed_and_acts_reach_the_projector(
    ann: httpx.AsyncClient, reader: httpx.AsyncClient, idle: Harness, migrated: Settings
) -> None:
    found = {one["projection"]: one for one in (await ann.get("/projections")).json()["items"]}
    assert {name: one["error"] for name, one in found.items()} == dict.fromkeys(("summary", "analytics", "search"))
    assert found["summary"]["store"] == "postgres"
    assert "orders" in found["summary"]["kinds"]
    assert (await ann.get("/projections/summary")).json() == found["summary"]
    assert (await ann.get("/projections/unicorns")).json()["code"] == "projection-not-found"
    assert (await reader.get("/projections")).status_code == 403
    async with projector(migrated) as asked:
        begun = await ann.post("/projections/summary/rebuild", json={"rate": 500, "reason": "fixed in 1.4.2"})
        assert begun.status_code == 202, begun.text
        assert begun.json()["generations"][0]["number"] == 2
        refused = await ann.post("/projections/summary/activate", json={"generation": 2, "reason": "equal"})
        assert (refused.status_code, refused.json()["code"]) == (409, "generation-not-ready")
        assert [(one.generation, one.actor, one.reason) for one in asked] == [
            (2, "ann", "fixed in 1.4.2"),
            (2, "ann", "equal"),
        ]
    for path, body in (("activate", {"generation": 2}), ("rollback", {}), ("drop", {"generation": 1, "reason": ""})):
        assert (await ann.post(f"/projections/summary/{path}", json=body)).status_code == 422, path
    unknown = await ann.post("/projections/summary/rollback", json={"reason": "x", "generation": 1})
    assert unknown.status_code == 422
    assert (await reader.post("/projections/summary/rollback", json={"reason": "x"})).status_code == 403


async def test_each_lane_has_its_queue_and_its_lag(
    ann: httpx.AsyncClient, db: asyncpg.Connection, servers: Servers
) -> None:
    await db.execute("INSERT INTO queue_depths VALUES ('summary.1', 7, 2, $1), ('summary.dead', 9, 1, $1)", NOW)
    summary = await asyncpg.connect(servers.stores["summary"], server_settings={"search_path": "summary"})
    heard = datetime.now(UTC) - timedelta(seconds=90)
    await summary.execute("DELETE FROM progress")
    await summary.execute("INSERT INTO progress VALUES (0, $1, 30, $1), (1, NULL, 0, $1)", heard)
    try:
        first, second = (await ann.get("/projections/summary")).json()["lanes"]
        assert (first["lane"], first["events_applied"], first["messages"], first["counted_at"]) == (0, 30, None, None)
        assert 90 <= first["lag_seconds"] < 150
        assert second == {
            "lane": 1,
            "as_of": None,
            "lag_seconds": None,
            "events_applied": 0,
            "messages": 7,
            "consumers": 2,
            "counted_at": "2026-03-01T00:00:00Z",
        }
    finally:
        await summary.execute("DELETE FROM progress")
        await summary.close()


async def test_what_a_store_has_of_a_stream_needs_the_scope_of_its_routes(
    nobody: httpx.AsyncClient, db: asyncpg.Connection
) -> None:
    async with client_of(nobody, db, "viewer", "projections:read") as viewer:
        found = (await viewer.get("/stream-positions/orders/o-1")).json()["items"]
    assert {one["projection"]: one["document_hidden"] for one in found} == {
        "summary": "queries:orders",
        "analytics": None,
        "search": "queries:orders",
    }
    assert {one["document"] for one in found} == {None}


async def test_a_stream_has_its_version_in_each_read_model(ann: httpx.AsyncClient) -> None:
    answer = (await ann.get("/stream-positions/orders/never-placed")).json()
    assert answer["stream"] == "orders/never-placed"
    assert {one["projection"]: (one["version"], one["error"]) for one in answer["items"]} == {
        "summary": (0, None),
        "analytics": (0, None),
        "search": (0, None),
    }
    assert {one["projection"] for one in (await ann.get("/stream-positions/doctors/d")).json()["items"]} == {
        "summary",
        "search",
    }
    assert (await ann.get("/stream-positions/unicorns/u")).json()["code"] == "unknown-kind"
