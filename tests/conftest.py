"""Real servers for every test that needs them: started once, private, gone at the end."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from deploy.run.migrate import migrate
from deploy.servers.provide import Servers, provide
from shared.runtime.settings import Settings

TESTS = Path(__file__).parent
os.environ.setdefault("TIDEMARK_AUTH", "off")  # tests of identities switch it on
TOGETHER = {"e2e": "system", "browser": "browser", "faults": "faults", "integration": "servers", "contract": "servers"}
"""Folders whose tests share what is started once: with several test processes, each group stays in one of them."""

# The machine is shared and slow at times: how long an example takes says nothing about the code.
hypothesis_settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("shared-machine")


class ByFolder(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Tests of the folders in TOGETHER stay together, in their order; others go one by one to whichever process is free."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.split("/")[1], nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFolder | None:
    # Not the groups that xdist has: it names them in a test's id, which pytest 9.2 does not let it.
    return ByFolder(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL, Redis and RabbitMQ for this session alone, whatever else runs on the machine."""
    with provide() as running:
        yield running


@pytest.fixture(scope="session")
def settings(servers: Servers) -> Iterator[Settings]:
    """Settings as a deployable on these servers reads them."""
    before = dict(os.environ)
    os.environ.update(servers.environ())
    yield Settings()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
async def migrated(settings: Settings) -> Settings:
    """The same settings, on servers with every schema and queue in place."""
    await migrate(settings)
    return settings


@pytest.fixture
async def write_db(migrated: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The write database, empty."""
    connection = await asyncpg.connect(migrated.write_db_url)
    await connection.execute("TRUNCATE streams, events, archived_events, commands, claims, outbox, undecided_commands")
    yield connection
    await connection.close()
