"""Private servers for the fault tests, a system that runs on them, and a seed that is printed with every failure.

``TIDEMARK_TEST_SEED`` sets it, to see a failure again. The system is started once: each test finds it whole, and every store and
queue empty. After a test that failed, everything is started afresh.
"""

import os
import random
import sys
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from deploy.servers import packages
from deploy.servers.provide import CHOICE, Servers
from tests.e2e.system import own_servers
from tests.faults.cluster import Cluster, empty, prepare, running_cluster

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


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


@pytest.fixture(scope="package")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the deployables say."""
    path = tmp_path_factory.mktemp("faults") / "output.log"
    path.touch()
    return path


@pytest.fixture
def log(output: Path) -> Iterator[Path]:
    """The end of what the deployables say during a test is printed with its failure."""
    before = output.stat().st_size
    yield output
    with output.open() as lines:
        lines.seek(before)
        told = [line for line in lines.read().splitlines() if " INFO " not in line and "│ INFO" not in line]
    print(*told[-60:], sep="\n", file=sys.stderr)


class Standing:
    """The system, running from one test to the next."""

    def __init__(self, own: Servers, output: Path) -> None:
        self._own = own
        self._output = output
        self._stack = AsyncExitStack()
        self._cluster: Cluster | None = None
        self._seen: Mapping[str, str] = {}

    async def ready(self, seeded: Random, seen: Mapping[str, str] | None = None) -> Cluster:
        """``seen``: URLs, by environment variable, that the deployables get instead."""
        if self._seen != (seen or {}):
            await self.gone()
            self._seen = seen or {}
        if self._cluster is None:
            lines = self._stack.enter_context(self._output.open("a"))
            self._cluster = await self._stack.enter_async_context(running_cluster(self._own, lines, seeded, seen=seen))
        else:
            await self._cluster.reset()
        self._cluster.random = seeded
        return self._cluster

    async def gone(self) -> None:
        self._cluster = None
        await self._stack.aclose()


@pytest.fixture(scope="package")
async def standing(own: Servers, output: Path) -> AsyncIterator[Standing]:
    standing = Standing(own, output)
    yield standing
    await standing.gone()


@pytest.fixture
async def bare(own: Servers, standing: Standing) -> Servers:
    """The servers, and none of the deployables."""
    await standing.gone()
    await empty(own)
    return own


@pytest.fixture
async def cluster(
    standing: Standing, log: Path, seeded: Random, request: pytest.FixtureRequest
) -> AsyncIterator[Cluster]:
    yield await standing.ready(seeded)
    if request.node.stash.get(FAILED, False):
        await standing.gone()
