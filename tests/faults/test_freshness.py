"""A projection that stands still is seen within seconds, whatever it is that stands still; an idle one is not taken for one."""

import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import httpx
import pytest

from shared.read_models import NAMES
from tests.faults.cluster import Cluster
from tests.faults.waiting import until

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]

PROJECTIONS: Final = set(NAMES)


async def statuses(cluster: Cluster) -> Mapping[str, str]:
    async with httpx.AsyncClient(base_url=cluster.query_url, trust_env=False, timeout=10) as client:
        found = (await client.get("/freshness")).json()["projections"]
    return {one["projection"]: one.get("status", "unavailable") for one in found}


@asynccontextmanager
async def stopped(cluster: Cluster, name: str) -> AsyncIterator[None]:
    pid = cluster.supervisor.pid(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("process", "stalled"), [("search", {"search"}), ("analytics", {"analytics"}), ("relay", PROJECTIONS)]
)
async def test_what_stands_still_is_stalled_within_ten_seconds_and_current_again_when_it_goes_on(
    cluster: Cluster, process: str, stalled: set[str]
) -> None:
    async def look() -> Mapping[str, str]:
        return await statuses(cluster)

    await until(look, lambda seen: set(seen.values()) == {"current"}, within_s=15)
    async with stopped(cluster, process):
        expected = {name: "stalled" if name in stalled else "current" for name in PROJECTIONS}
        await until(look, lambda seen: seen == expected, within_s=10)
    await until(look, lambda seen: set(seen.values()) == {"current"}, within_s=10)
