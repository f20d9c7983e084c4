"""Deployables that die at a failpoint, and the proof that they did."""

import asyncio
from typing import Final

from shared.runtime.failpoints import EXIT_CODE, Failpoint
from tests.faults.cluster import Cluster

EXIT_TIMEOUT_S: Final = 60


async def start_with_failpoint(
    cluster: Cluster, *names: str, place: Failpoint, visit: int = 1, **settings: str
) -> None:
    """Start these deployables so that they exit at the failpoint."""
    await asyncio.gather(
        *(cluster.start_with(name, TIDEMARK_FAILPOINT=f"{name}:{place}:{visit}", **settings) for name in names)
    )


async def wait_for_failpoint_exit(cluster: Cluster, *names: str) -> None:
    """Return when exactly these have exited, each at its failpoint; none is restarted."""
    async with asyncio.timeout(EXIT_TIMEOUT_S):
        while not all(cluster.supervisor.exit_of(name) for name in names):  # noqa: ASYNC110 - asked of the kernel
            await asyncio.sleep(0.02)
    assert {name: death.reason for name in names if (death := cluster.supervisor.exit_of(name))} == dict.fromkeys(
        names, f"exit code {EXIT_CODE}"
    )
    assert set(cluster.died()) == set(names)
