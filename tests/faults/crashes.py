"""Deployables that die at a failpoint, and the proof that they did."""

import asyncio
from typing import Final

from shared.runtime.failpoints import EXIT_CODE, Failpoint
from tests.faults.cluster import Cluster

DEAD_WITHIN_S: Final = 60


async def armed(cluster: Cluster, *names: str, place: Failpoint, visit: int = 1, **settings: str) -> None:
    """Start these deployables so that they die there."""
    await asyncio.gather(
        *(cluster.start_anew(name, TIDEMARK_FAILPOINT=f"{name}:{place}:{visit}", **settings) for name in names)
    )


async def died_there(cluster: Cluster, *names: str) -> None:
    """Return when these have died, each at its failpoint and no other has, and start none again."""
    async with asyncio.timeout(DEAD_WITHIN_S):
        while not all(cluster.supervisor.exit_of(name) for name in names):  # noqa: ASYNC110 - asked of the kernel
            await asyncio.sleep(0.02)
    assert {name: death.reason for name in names if (death := cluster.supervisor.exit_of(name))} == dict.fromkeys(
        names, f"exit code {EXIT_CODE}"
    )
    assert set(cluster.died()) == set(names)
