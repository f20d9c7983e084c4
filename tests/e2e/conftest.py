"""One running system for all end-to-end tests: each uses ids and days of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from deploy.servers.provide import Servers
from tests.e2e.bus import Bus
from tests.e2e.system import System, own_servers, running_system
from tests.otlp import Receiver, receiver


@pytest.fixture(scope="package")
def own() -> Iterator[Servers]:
    with own_servers() as servers:
        yield servers


@pytest.fixture(scope="package")
def traces() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture(scope="package")
async def system(own: Servers, traces: Receiver, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """It records the traces that senders ask for, and begins none."""
    log = tmp_path_factory.mktemp("system") / "output.log"
    async with running_system(own, log, traces.settings()) as system:
        yield system


@pytest.fixture
def bus(system: System) -> Bus:
    return system.bus
