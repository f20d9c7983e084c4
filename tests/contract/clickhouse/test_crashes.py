"""A process is killed in the middle of its commits, again and again: each commit is there as a whole, or not at all."""

import asyncio
import json
import random
import sys
from pathlib import Path

import pytest

pytest.importorskip("chdb", reason="ClickHouse in this process is an extra: `make test-clickhouse`")

from tests.contract.clickhouse.writer import WIDTH

KILLS = 8
LOOK = """
import asyncio, json, sys
from tests.contract.clickhouse.database import Database
from tests.contract.clickhouse.read_store import ClickHouseReadStore
from tests.contract.clickhouse.store import ClickHouseStore

async def look(url):
    database = Database(url)
    await database.create()
    store, read_store = ClickHouseStore(url), ClickHouseReadStore(url)
    cursor, positions = "", {}
    while True:
        cursor, page = await store.positions_page(cursor, 1000)
        positions |= dict(page)
        if not cursor:
            break
    print(json.dumps([positions, await read_store.orders(), (await read_store.progress()).get(0, [None, 0])[1]]))

asyncio.run(look(sys.argv[1]))
"""
"""In a process of its own: one process at a time may have the folder."""


async def seen(url: str) -> tuple[int, int]:
    """(commits, events), after checking that positions, figures and progress are those of whole commits, and agree."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LOOK, url), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    output, _ = await process.communicate()
    positions, orders, events = json.loads(output)
    commits = len(positions) // WIDTH
    assert positions == {
        f"orders/{number}-{place}": 1 if number == commits - 1 else 2
        for number in range(commits)
        for place in range(WIDTH)
    }
    cancelled = max(0, commits - 1) * WIDTH
    assert orders == [len(positions) - cancelled, cancelled]
    assert events == sum(positions.values())
    return commits, events


@pytest.mark.timeout(600)
async def test_a_killed_process_leaves_whole_commits_and_what_it_had_confirmed(tmp_path: Path) -> None:
    url, chance = f"chdb:{tmp_path}#crashes", random.Random(7)
    committed, _ = await seen(url)
    assert committed == 0
    for _ in range(KILLS):
        first = max(0, committed - 2)  # the last ones again: they are refused
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.contract.clickhouse.writer", url, str(first)),
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[3],
        )
        assert process.stdout is not None
        confirmed = first - 1
        try:
            async with asyncio.timeout(60):
                while confirmed < committed + 3:
                    confirmed = int(await process.stdout.readline())
            await asyncio.sleep(chance.random() * 0.08)  # somewhere within a commit
        finally:
            process.kill()
            rest, _ = await process.communicate()
        confirmed = int(rest.split()[-1]) if rest.split() else confirmed
        now, _ = await seen(url)
        assert confirmed + 1 <= now <= confirmed + 2, "what was confirmed is there, and at most the one that was not"
        committed = now
    assert committed > 3 * KILLS
