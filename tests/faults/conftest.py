"""Private servers for the fault tests, and a seed that is printed with every failure.

``TIDEMARK_TEST_SEED`` sets it, to see a failure again.
"""

import os
import random
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest

from deploy.local import packages
from deploy.local.servers import CHOICE, Servers
from tests.e2e.system import own_servers
from tests.faults.cluster import Cluster, prepare, running_cluster


@pytest.fixture(scope="package")
async def own() -> AsyncIterator[Servers]:
    if packages.missing():
        pytest.skip("the servers' programs are not on this machine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CHOICE, "private")
        with own_servers() as servers:
            await prepare(servers)
            yield servers


@pytest.fixture
def seeded() -> Random:
    seed = int(os.environ.get("TIDEMARK_TEST_SEED") or random.randrange(2**32))
    print(f"TIDEMARK_TEST_SEED={seed}")
    return Random(seed)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """What the deployables say; its end is printed with a failure."""
    path = tmp_path / "output.log"
    yield path
    text = path.read_text().splitlines() if path.exists() else []
    told = [line for line in text if " INFO " not in line and "│ INFO" not in line]
    print(*told[-60:], sep="\n", file=sys.stderr)


@pytest.fixture
async def cluster(own: Servers, log: Path, seeded: Random) -> AsyncIterator[Cluster]:
    with log.open("w") as output:
        async with running_cluster(own, output, seeded) as cluster:
            yield cluster
