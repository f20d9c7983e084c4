"""The gateway under load, with full numbers: query services killed, 500 event streams through a reload."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

import httpx
import pytest

from shared.runtime import descriptors
from tests.e2e.authenticated.door import BACK_WITHIN_S, Door, opened_door
from tests.e2e.authenticated.secured import secured_system, subject

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]

CLIENTS: Final = 16
KILLS: Final = 6
BETWEEN: Final = 200
"""GETs from one step to the next."""
KEYS: Final = 5
STREAMS_PER_KEY: Final = 100
NEW_STREAMS: Final = 50
AT_ONCE: Final = 50
"""Connections that are being made at the same time."""
ALL_CUSTOMERS: Final = "?kind=customers&projection=summary"


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    descriptors.raise_limit()
    async with (
        secured_system(tmp_path_factory.mktemp("secured")) as system,
        opened_door(system, tmp_path_factory.mktemp("door")) as door,
    ):
        yield door


async def test_query_services_killed_in_turn_cost_no_get(door: Door) -> None:
    answers: Counter[str] = Counter()
    slowest = 0.0
    done = asyncio.Event()
    customer, accepted = await door.register()
    token = accepted.headers["tidemark-consistency"]
    first = await door.get(f"/customers/{customer}", **{"Tidemark-Consistency": token, "Prefer": "wait=20"})
    assert first.status_code == 200

    async def ask(number: int) -> None:
        nonlocal slowest
        own = {"Connection": "close"} if number % 4 == 0 else {}
        while not done.is_set():
            began = time.monotonic()
            try:
                answers[str((await door.get(f"/customers/{customer}", **own)).status_code)] += 1
            except httpx.HTTPError as error:
                answers[type(error).__name__] += 1
            slowest = max(slowest, time.monotonic() - began)

    async def more() -> None:
        wanted = answers.total() + BETWEEN
        async with asyncio.timeout(BACK_WITHIN_S):
            while answers.total() < wanted:  # noqa: ASYNC110 - other tasks
                await asyncio.sleep(0.01)

    asking = [asyncio.create_task(ask(number)) for number in range(CLIENTS)]
    try:
        for kill in range(KILLS):
            services = (door.services, door.second_query)[kill % 2]
            await more()
            await services.kill("query")
            await more()
            await services.restart("query")
            await door.until_instances(queries=2)
    finally:
        done.set()
        await asyncio.gather(*asking)
    print(
        f"{answers.total()} GETs while a query service was killed {KILLS} times: {dict(answers)}; slowest {slowest:.3f} s"
    )
    assert set(answers) == {"200"}, answers
    assert answers.total() >= 2 * KILLS * BETWEEN


async def test_500_event_streams_stay_through_a_reload_and_new_ones_are_served(door: Door) -> None:
    keys = [await door.system.headers(subject("listener"), "queries:customers") for _ in range(KEYS)]
    places = asyncio.Semaphore(AT_ONCE)

    async def listen(number: int) -> asyncio.StreamReader:
        async with places:
            return await door.listen(ALL_CUSTOMERS, key=keys[number % KEYS])

    streams = await asyncio.gather(*(listen(number) for number in range(KEYS * STREAMS_PER_KEY)))
    before = door.workers()
    new = await door.reload()
    streams += await asyncio.gather(*(listen(number) for number in range(NEW_STREAMS)))
    assert before < door.workers(), "the old process stays for its streams"
    assert new in door.workers()
    for _ in range(3):
        customer, accepted = await door.register()
        assert accepted.status_code == 200, accepted.text
        wanted = f'"customers/{customer}"'.encode()
        began = time.monotonic()
        async with asyncio.timeout(BACK_WITHIN_S):
            await asyncio.gather(*(stream.readuntil(wanted) for stream in streams))
        print(f"an event reached {len(streams)} streams in {time.monotonic() - began:.3f} s after its acceptance")
    assert not any(stream.at_eof() for stream in streams)
