"""``tidemark projections``: what it shows, what it orders, and one line for everything that cannot be.

The projector is played here: what orders do to generations is the projectors' to test.
"""

import json
from datetime import UTC, datetime

import aio_pika
import pytest
from redis.asyncio import Redis

from deploy.cli import operator_options
from deploy.cli.projections import following
from deploy.compare.stores import PostgresReadStore
from projectors.models.analytics.store import AnalyticsStore
from projectors.models.summary.store import SummaryStore
from projectors.stores.port import Commit
from projectors.stores.tables import tables_of
from shared.messaging import topology
from shared.read_models import named
from shared.runtime.settings import Settings
from shared.views.generations import Generation, registry_key
from tests.integration.program import Program
from tests.integration.projections.conftest import event_by_event, story
from tests.integration.projections.playing import BEGUN, Registry, generation, playing, refusal

projections = Program("projections")
said, json_of, refused = projections.said, projections.json_of, projections.refused


async def test_status_shows_every_generation_of_every_projection(registry: Registry) -> None:
    ready = datetime(2026, 4, 1, 12, 0, 10, tzinfo=UTC)
    await registry.says(
        generation(1, active=True, activated_at=BEGUN),
        generation(2, scanned=1000, total=1000, ready_at=ready, epoch="e-1", done=True),
        generation(3, ready=False, scanned=50, total=1000, rate=100.0),
    )
    items = (await json_of("status"))["items"]
    assert {item["projection"] for item in items} == set(topology.PROJECTORS)
    summary = [item for item in items if item["projection"] == "summary"]
    assert [item["generation"]["number"] for item in summary] == [1, 2, 3]
    assert [item["generation"]["active"] for item in summary] == [True, False, False]
    assert summary[1]["events_per_second"] == 100.0
    assert summary[1]["progress"] == {"as_of": None, "streams": 0, "held": 0}
    assert (await json_of("status", "summary"))["items"] == summary
    table = await said("status")
    for text in ("active", "ready", "building", "50 of 1,000 events", "e-1", "2026-04-01 12:00:10Z"):
        assert text in table


async def test_status_says_what_the_active_generation_was_built_without(registry: Registry) -> None:
    others = [kind for kind in named("summary").kinds if kind != "customers"]
    await registry.says(generation(1, active=True, kinds=tuple(others)), generation(2, kinds=("orders",)))
    table = await said("status", "summary")
    says = "does not have customers yet: run tidemark projections rebuild summary, then tidemark projections activate summary"
    assert f"summary: {says}" in " ".join(table.split())
    first, second = (await json_of("status", "summary"))["items"]
    assert (first["generation"]["kinds"], second["generation"]["kinds"]) == (others, ["orders"])
    await registry.says(generation(1, active=True, kinds=named("summary").kinds))
    assert "does not have" not in await said("status", "summary")


async def test_a_store_without_a_registry_has_one_generation(migrated: Settings) -> None:
    redis: Redis = Redis.from_url(migrated.store_url("analytics"))
    await redis.unlink(registry_key("analytics"))
    await redis.aclose()
    (item,) = (await json_of("status", "analytics"))["items"]
    assert (item["generation"]["number"], item["generation"]["active"], item["generation"]["state"]) == (
        1,
        True,
        "ready",
    )


async def test_a_store_that_is_away_is_named_and_the_others_are_shown(migrated: Settings) -> None:
    away = {"TIDEMARK_ANALYTICS_REDIS_URL": "redis://127.0.0.1:1/0"}
    result = await projections.run("status", "--output", "json", environ=away)
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert {item["projection"] for item in document["items"]} >= {"summary", "search"}
    assert [error["projection"] for error in document["errors"]] == ["analytics"]
    await refused(
        "compare",
        "summary",
        code=3,
        says="PostgreSQL",
        environ={"TIDEMARK_SUMMARY_DB_URL": "postgresql://127.0.0.1:1/x"},
    )
    await refused("status", code=2, says="is no URL like", environ={"TIDEMARK_SUMMARY_DB_URL": "nonsense://x"})


async def test_compare_says_equal_or_shows_what_differs(registry: Registry, migrated: Settings) -> None:
    await registry.says(generation(1), generation(2, active=True), generation(3))
    two, three = (SummaryStore(migrated.store_url("summary"), f"summary_{number}") for number in (2, 3))
    try:
        for advance in event_by_event(story()):
            await two.commit(Commit([advance]))
        await three.commit(Commit(story()))
    finally:
        await two.close()
        await three.close()
    found = await json_of("compare", "summary")
    assert (found["projection"], found["generations"], found["equal"]) == ("summary", [3, 2], True)
    assert {part["name"] for part in found["parts"]} == {table.name for table in tables_of("summary")}
    assert "equal" in await said("compare", "summary", "--generation", "2", "--with", "3")

    await registry.database.execute("UPDATE summary_3.orders SET customer_id = '[red]\x1b[2J' WHERE order_id = 'o-1'")
    found = await json_of("compare", "summary", code=1)
    (orders,) = [part for part in found["parts"] if not part["equal"]]
    assert (orders["name"], orders["different"], orders["samples"][0]["key"]) == ("orders", 1, "o-1")
    table = await said("compare", "summary", code=1)
    assert "DIFFERENT" in table
    assert "[red]" in table
    assert "\x1b" not in table
    assert (await json_of("compare", "summary", "--sample", "0", code=1))["parts"][2]["samples"] == []


async def test_compare_of_figures_in_redis(migrated: Settings) -> None:
    redis: Redis = Redis.from_url(migrated.store_url("analytics"), decode_responses=True)
    stores = [AnalyticsStore(migrated.store_url("analytics"), f"analytics_{number}") for number in (2, 3)]
    key = registry_key("analytics")
    try:
        for number in (1, 2, 3):
            await redis.hset(key, str(number), generation(number).model_dump_json(exclude={"active"}))
        await redis.hset(key, "active", "2")
        for store in stores:
            await store.commit(Commit(story()))
        found = await json_of("compare", "analytics")
        assert (found["generations"], found["equal"]) == ([3, 2], True)
        await redis.hincrby("analytics_3:day:EUR", "20260331:revenue", 1)
        found = await json_of("compare", "analytics", code=1)
        (day,) = [part for part in found["parts"] if not part["equal"]]
        assert day["samples"][0]["key"] == "day:EUR 20260331:revenue"
    finally:
        for store in stores:
            await store.close()
        async for name in redis.scan_iter("analytics_*"):
            await redis.unlink(name)
        await redis.unlink(key)
        await redis.aclose()


async def test_what_cannot_be_compared_is_said_in_one_line(registry: Registry) -> None:
    await registry.says(generation(1, active=True))
    await refused("compare", "summary", code=1, says="rebuild it first")
    await refused("compare", "summery", code=2, says="there is no projection 'summery'")
    await registry.says(generation(1, active=True), generation(2, ready=False, scanned=5, total=10))
    await refused("compare", "summary", code=1, says="still being built (5 of 10 events)")
    await refused("compare", "summary", "--generation", "2", code=1, says="still being built")
    await refused("compare", "summary", "--generation", "7", code=1, says="there are 1, 2")
    await refused("compare", "summary", "--generation", "1", "--with", "1", code=2, says="itself")
    await registry.says(generation(1, active=True), generation(9))
    await refused("compare", "summary", code=1, says="has gone")


def looks(monkeypatch: pytest.MonkeyPatch, *seen: list[Generation]) -> None:
    """What each look into the summary's registry finds; the last for ever."""
    left = list(seen)

    async def generations(_: PostgresReadStore) -> list[Generation]:
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(PostgresReadStore, "generations", generations)
    monkeypatch.setattr(following, "POLL_INTERVAL_S", 0.01)


ACTIVE = generation(1, active=True)
READY = generation(3, scanned=1000, total=1000, ready_at=BEGUN.replace(second=10), done=True)


def built(scanned: int, number: int = 3, *, total: int | None = 1000, done: bool = False) -> Generation:
    return generation(number, ready=False, scanned=scanned, total=total, done=done)


async def test_a_rebuild_takes_the_next_free_number_and_is_followed_until_it_is_ready(
    migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [ACTIVE, generation(2)]
    building = [built(0, total=None), built(500), built(1000, done=True)]
    looks(monkeypatch, known, *([*known, one] for one in building), [*known, READY])
    async with playing(migrated, lambda *_: [*known, building[0]]) as projector:
        told = await said("rebuild", "summary", "--rate", "500", "--reason", "fixed", "--actor", "ann")
        assert "generation 3 is ready: 1,000 events in 10.0 s (100 a second)" in told
        asked = {"projection": "summary", "generation": 3, "rate": 500.0, "actor": "ann", "reason": "fixed"}
        assert projector.asked == [("rebuild", asked)]
        looks(monkeypatch, known)
        begun = await json_of("rebuild", "summary", "--no-wait")
        assert (begun["projection"], begun["number"], begun["state"]) == ("summary", 3, "building")


async def test_a_rebuild_that_is_under_way_is_followed_and_no_second_one_is_begun(
    migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with playing(migrated, lambda *_: refusal("rebuild-under-way")) as projector:
        looks(monkeypatch, [ACTIVE, built(10)], [ACTIVE, built(20)], [ACTIVE, READY])
        assert (await json_of("rebuild", "summary"))["state"] == "ready"
        assert projector.asked == []
        looks(monkeypatch, [ACTIVE], [ACTIVE, built(10)], [ACTIVE, READY])
        assert (await json_of("rebuild", "summary"))["number"] == 3
        assert len(projector.asked) == 1


async def test_a_rebuild_that_is_dropped_or_refused_ends_with_a_word(
    migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks(monkeypatch, [ACTIVE])
    async with playing(migrated, lambda *_: [ACTIVE, built(0, 2)]):
        await refused("rebuild", "summary", code=1, says="has been dropped")
    async with playing(migrated, lambda *_: refusal("validation-failed", "the \x1b[31mcode")) as projector:
        await refused("rebuild", "summary", code=1, says="validation-failed: the \\x1b[31mcode")
        await refused("rebuild", "summary", "--rate", "0", code=2, says="--rate")
        await refused("rebuild", "all", "--no-wait", code=2, says="--no-wait")
        assert len(projector.asked) == 1


async def test_silence_is_told_from_an_answer(registry: Registry, migrated: Settings) -> None:
    await registry.says(generation(1, active=True), generation(2))
    connection = await aio_pika.connect(migrated.rabbitmq_url)
    async with connection:
        queue = await (await connection.channel()).get_queue(topology.control_queue("summary"), ensure=False)
        await refused("rollback", "summary", "--timeout", "3", code=3, says="no summary projector has answered")
        await queue.purge()


async def test_activating_wants_to_be_meant(
    registry: Registry, migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.says(generation(1, active=True), generation(2))
    after = [generation(1), generation(2, active=True, activated_at=BEGUN)]
    async with playing(migrated, lambda *_: after) as projector:
        await refused("activate", "summary", code=2, says="activate requires --yes")
        await refused("activate", "summary", "5", "--yes", code=1, says="no generation 5")
        assert projector.asked == []
        assert "generation 2 is active" in await said("activate", "summary", "--yes")
        done = await json_of("activate", "summary", "2", "--yes", "--actor", "ann", "--reason", "equal")
        assert [one["active"] for one in done["generations"]] == [False, True]
        assert projector.asked[-1] == (
            "activate",
            {"projection": "summary", "generation": 2, "actor": "ann", "reason": "equal"},
        )
        monkeypatch.setattr(operator_options, "is_interactive", lambda: True)
        await said("activate", "summary", given="n\n", code=1)
        assert len(projector.asked) == 2
        await said("activate", "summary", given="y\n")
        assert len(projector.asked) == 3


async def test_rolling_back_is_done_at_once(registry: Registry, migrated: Settings) -> None:
    async with playing(migrated, lambda *_: [generation(1, active=True), generation(2)]) as projector:
        assert "generation 1 is active again" in await said("rollback", "summary")
        assert [verb for verb, _ in projector.asked] == ["rollback"]
    async with playing(migrated, lambda *_: refusal("no-generation-before", "there was none")):
        await refused("rollback", "summary", code=1, says="no-generation-before: there was none")


async def test_dropping_wants_to_be_meant(registry: Registry, migrated: Settings) -> None:
    await registry.says(generation(1, active=True), generation(2))
    async with playing(migrated, lambda *_: [generation(1, active=True)]) as projector:
        await refused("drop", "summary", "2", code=2, says="drop requires --yes")
        await refused("drop", "summary", "3", "--yes", code=1, says="there are 1, 2")
        assert "generation 2 is gone" in await said("drop", "summary", "2", "--yes")
        assert projector.asked == [
            ("drop", {"projection": "summary", "generation": 2, "actor": projector.asked[0][1]["actor"], "reason": ""})
        ]
    async with playing(migrated, lambda *_: refusal("generation-is-active")):
        await refused("drop", "summary", "1", "--yes", code=1, says="generation-is-active")
