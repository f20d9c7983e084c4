"""The history of a finished process goes by its age; the process stays, finished, and nothing begins it again."""

from collections.abc import AsyncIterator

import pytest

from deploy.verify.laws.process_commands import WITHOUT_OUTCOME
from projectors.process_runtime import retention
from projectors.process_runtime.outcomes import receive
from projectors.processes.process import Act
from shared.runtime.retention import Pruner, RetentionOptions
from tests import shop
from tests.integration.processes.conftest import Parcels
from tests.process_manager import NAME

AGED = "UPDATE processes SET done_at = done_at - interval '400 days', updated_at = updated_at - interval '400 days'"


@pytest.fixture
async def pruner(parcels: Parcels) -> AsyncIterator[Pruner]:
    made = retention.pruner(NAME, parcels.store.url, RetentionOptions())
    yield made
    await made.close()


async def delivered(parcels: Parcels, process: str, *, outcomes: bool = True) -> None:
    await parcels.event(f"orders/{process}", shop.placed(process), shop.paid(process), shop.delivered(process))
    if outcomes:
        for key in ("pay", "ship"):
            await receive(parcels.store, [await parcels.outcome(process, key)])


async def rows(parcels: Parcels, process: str) -> tuple[int, int]:
    """How many inputs and commands of the process there are."""
    return (
        await parcels.db.fetchval("SELECT count(*) FROM inputs WHERE process = $1", process),
        await parcels.db.fetchval("SELECT count(*) FROM commands WHERE process = $1", process),
    )


async def test_the_history_goes_and_the_process_stays_finished(parcels: Parcels, pruner: Pruner) -> None:
    await delivered(parcels, "o-1")
    await parcels.event("orders/o-2", shop.placed("o-2"))
    assert await pruner.once() == {}
    await parcels.db.execute(AGED)
    assert await pruner.once() == {"histories of finished processes": 1}
    assert await rows(parcels, "o-1") == (0, 0)
    assert await rows(parcels, "o-2") == (1, 1)
    row = await parcels.row("o-1")
    assert (row["status"], row["result"], row["pruned_at"] is not None) == ("done", "delivered", True)
    assert await pruner.once() == {}
    assert [found["process"] for found in await parcels.db.fetch(WITHOUT_OUTCOME, 10)] == ["o-2"]


async def test_what_comes_later_begins_nothing_anew_and_is_pruned_in_its_turn(parcels: Parcels, pruner: Pruner) -> None:
    await delivered(parcels, "o-1")
    await parcels.db.execute(AGED)
    await pruner.once()
    await parcels.customer("o-1", "Bob")
    await parcels.operator("o-1", Act.COMPENSATE)
    row = await parcels.row("o-1")
    assert (row["status"], row["result"], row["received"]) == ("done", "delivered", 7)
    assert await pruner.once() == {}, "it has just changed"
    await parcels.db.execute(AGED)
    assert await pruner.once() == {"histories of finished processes": 1}


async def test_a_process_that_still_expects_an_outcome_keeps_its_history(parcels: Parcels, pruner: Pruner) -> None:
    await delivered(parcels, "o-1", outcomes=False)
    await parcels.db.execute(AGED)
    assert await pruner.once() == {}
    assert await rows(parcels, "o-1") == (3, 2)


async def test_running_and_failed_processes_keep_theirs_however_old(parcels: Parcels, pruner: Pruner) -> None:
    await parcels.event("orders/o-1", shop.placed("o-1"))
    await parcels.event("orders/o-2", shop.placed("o-2"))
    await parcels.customer("o-2", "poison")
    await parcels.db.execute(AGED)
    assert await pruner.once() == {}
    assert await rows(parcels, "o-1") == (1, 1)
    assert await rows(parcels, "o-2") == (2, 1)
