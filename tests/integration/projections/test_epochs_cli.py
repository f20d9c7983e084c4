"""``tidemark epoch`` on a write database of its own, and ``tidemark projections adopt-epoch`` to a projector that is played."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from deploy.cli import operator_options
from shared.runtime.settings import Settings
from tests.integration.databases import database, write_database
from tests.integration.program import Program
from tests.integration.projections.playing import Registry, generation, playing, refusal

epoch, projections = Program("epoch"), Program("projections")
said, json_of, refused = projections.said, projections.json_of, projections.refused


@pytest.fixture
async def of_its_own(migrated: Settings) -> AsyncIterator[dict[str, Any]]:
    """How the program is called on a write database that has no epoch yet."""
    async with write_database(migrated) as url:
        yield {"environ": {"TIDEMARK_WRITE_DB_URL": url}}


async def test_an_epoch_begins_when_an_operator_says_so_and_all_are_shown(of_its_own: dict[str, Any]) -> None:
    assert "no epoch has begun" in await epoch.said("show", **of_its_own)
    assert await epoch.json_of("show", **of_its_own) == {"items": []}
    (first,) = (await epoch.json_of("new", "--reason", "disk of Monday", "--actor", "ann", **of_its_own))["items"]
    assert (first["number"], first["reason"], first["actor"], first["timeline"]) == (1, "disk of Monday", "ann", 1)
    table = await epoch.said("new", "--reason", "[red]\x1b[2J", **of_its_own)
    for text in ("disk of Monday", "ann", first["epoch"], "[red]\\x1b[2J"):
        assert text in table
    found = (await epoch.json_of("show", **of_its_own))["items"]
    assert [(one["number"], one["epoch"] == first["epoch"]) for one in found] == [(2, False), (1, True)]


async def test_an_epoch_wants_a_reason_that_can_be_kept(of_its_own: dict[str, Any]) -> None:
    for reason in ("", " ", "nul \x00", "half \ud800", "x" * 2001):
        await epoch.refused("new", "--reason", reason, code=2, says="--reason: ", **of_its_own)
    await epoch.refused("new", code=2, says="--reason", **of_its_own)
    await epoch.refused("new", "--reason", "disk of Monday", "--actor", "", code=2, says="--actor", **of_its_own)
    assert await epoch.json_of("show", **of_its_own) == {"items": []}


async def test_a_write_database_that_cannot_be_asked_is_one_line(migrated: Settings) -> None:
    for verb in (["show"], ["new", "--reason", "x"]):
        for url, code, says in (("postgresql://127.0.0.1:1/x", 3, "PostgreSQL"), ("nonsense://x", 2, "is no URL like")):
            await epoch.refused(*verb, code=code, says=says, environ={"TIDEMARK_WRITE_DB_URL": url})
        async with database(migrated.write_db_url) as empty:
            await epoch.refused(*verb, code=3, says="epochs", environ={"TIDEMARK_WRITE_DB_URL": empty})


ASTRAY: dict[str, Any] = {
    "epoch": "e-1",
    "moving_to": "e-2",
    "compared": True,
    "ahead": 1200,
    "examples": ("orders/o-1 at 3, not 2",),
}


async def test_status_says_what_is_stopped_and_why(registry: Registry) -> None:
    comparing: dict[str, Any] = {"epoch": "e-1", "moving_to": "e-2"}
    await registry.says(generation(1, active=True, **ASTRAY), generation(2, **ASTRAY), generation(3, **comparing))
    table = await said("status", "summary")
    for text in ("active, stopped", "ready, stopped", "ready, comparing", "1200 streams here are ahead of it"):
        assert text in table
    assert table.count("tidemark projections adopt-epoch summary") == 1
    items = (await json_of("status", "summary"))["items"]
    assert [item["generation"]["ahead"] for item in items] == [1200, 1200, 0]
    await registry.says(generation(1, active=True, **comparing))
    table = await said("status", "summary")
    assert "active, comparing" in table
    assert "comparing what is here with what it knows" in table


async def test_adopting_wants_to_be_meant_and_says_of_how_many_streams(
    registry: Registry, migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.says(generation(1), generation(2, active=True, **ASTRAY))
    after = [generation(1), generation(2, active=True, epoch="e-2", former=("e-1",))]
    async with playing(migrated, lambda *_: after) as projector:
        await refused(
            "adopt-epoch", "summary", code=2, says="adopt-epoch requires --yes: summary: go on although 1,200 streams"
        )
        await refused("adopt-epoch", "summery", "--yes", code=2, says="there is no projection 'summery'")
        await refused("adopt-epoch", "summary", "--yes", "--actor", "", code=2, says="--actor")
        monkeypatch.setattr(operator_options, "is_interactive", lambda: True)
        await said("adopt-epoch", "summary", given="n\n", code=1)
        assert projector.asked == []
        assert "summary: generation 2 goes on in epoch e-2" in await said("adopt-epoch", "summary", given="y\n")
        monkeypatch.undo()
        done = await json_of(
            "adopt-epoch", "summary", "--yes", "--actor", "ann", "--reason", "test data", "--request-id", "r-1"
        )
        assert (done["request_id"], [one["epoch"] for one in done["generations"]]) == ("r-1", [None, "e-2"])
        assert projector.asked[-1] == (
            "adopt-epoch",
            {"projection": "summary", "generation": 2, "actor": "ann", "reason": "test data"},
        )


async def test_what_the_projector_refuses_to_adopt_is_one_line(registry: Registry, migrated: Settings) -> None:
    await registry.says(generation(1, active=True, epoch="e-1"))
    async with playing(migrated, lambda *_: refusal("nothing-to-adopt", "generation 1 has recorded no other epoch")):
        await refused("adopt-epoch", "summary", "--yes", code=1, says="nothing-to-adopt: generation 1 has recorded no")
    away = {"TIDEMARK_SUMMARY_DB_URL": "postgresql://127.0.0.1:1/x"}
    await refused("adopt-epoch", "summary", "--yes", code=3, says="PostgreSQL", environ=away)
