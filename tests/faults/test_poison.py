"""A projection that fails on one stream in a hundred: those streams wait, nothing else notices, and one replay makes all equal."""

from collections.abc import Iterator
from itertools import chain, count
from typing import Any, Final
from zlib import crc32

import asyncpg
import pytest

from deploy.sending.batches import CommandMessage, command_message
from tests.faults.audit import caught_up, differences, figures
from tests.faults.cluster import Cluster
from tests.faults.letters import caught_up_but, letters_of
from tests.faults.load import demo_commands, demo_size, loading
from tests.faults.waiting import until

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

ORDERS = 10_000
SUCCESSORS = 1000
OUT_OF: Final = 100
POISON = {"TIDEMARK_POISON": f"summary:1/{OUT_OF}", "TIDEMARK_SUMMARY_RETRIES": "1"}

HELD = "SELECT status, version, seen FROM held WHERE stream = $1"
HOW_MANY_HELD = "SELECT count(*) FROM held"
LETTER = "SELECT count(*) AS letters, min(version) AS version FROM letters WHERE stream = $1"


def poisoned(stream: str) -> bool:
    """As ``TIDEMARK_POISON`` chooses."""
    return crc32(stream.encode()) % OUT_OF < 1


PRODUCT = next(f"priced-{number}" for number in count() if poisoned(f"products/priced-{number}"))
STREAM = f"products/{PRODUCT}"


def a_much_priced_product() -> Iterator[CommandMessage]:
    """One poisoned stream of 1 + SUCCESSORS events."""
    created: dict[str, Any] = {
        "product_id": PRODUCT,
        "name": "Priceless",
        "category": "x",
        "price": 1,
        "currency": "EUR",
    }
    yield command_message("catalog.create-product", "create", created, source="tests")
    for number in range(SUCCESSORS):
        data = {"price": 2 + number}
        yield command_message("catalog.change-price", f"price-{number}", data, source="tests", subject=PRODUCT)


async def test_poisoned_streams_wait_while_all_else_flows_and_one_replay_makes_everything_equal(
    cluster: Cluster,
) -> None:
    await cluster.start_with("summary", **POISON)
    commands = chain(a_much_priced_product(), demo_commands(ORDERS))
    total = 1 + SUCCESSORS + demo_size(ORDERS)
    async with loading(cluster, commands, total, window=2000) as load, letters_of(cluster) as letters:
        await load.finished()
        sick = frozenset(stream for stream in load.versions if poisoned(stream))
        assert len(sick) > ORDERS / OUT_OF / 2
        await caught_up_but(cluster, load, sick)
        await letters.dead(len(sick))
        view = await asyncpg.connect(cluster.servers.stores["summary"], server_settings={"search_path": "summary"})
        await until(
            lambda: view.fetch(HELD, STREAM), lambda rows: list(map(tuple, rows)) == [("dead", 1, 1 + SUCCESSORS)]
        )
        assert await view.fetchval(HOW_MANY_HELD) == len(sick)
        assert [tuple(row) for row in await letters.database.fetch(LETTER, STREAM)] == [(1, 1)]
        assert await letters.failed_again() == []

        await cluster.start_with("summary")
        job = await letters.completed(await letters.replay())
        assert (job["succeeded"], job["failed"]) == (len(sick), 0)
        await caught_up(cluster, load)
        assert await letters.by_status() == {"resolved": len(sick)}
        assert await view.fetchval(HOW_MANY_HELD) == 0
        await view.close()
        assert await differences(cluster, load) == {}
        assert await figures(cluster, load, ORDERS) == []
