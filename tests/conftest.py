"""Real servers for every test that needs them: started once, private, gone at the end."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from deploy.run.migrate import migrate
from deploy.servers.provide import Servers, provide
from shared.runtime.settings import Settings

TESTS = Path(__file__).parent
TOGETHER = {"e2e": "system", "faults": "faults", "integration": "servers", "contract": "servers"}
"""Folders whose tests share what is started once: with several test processes, each group stays in one of them."""

# The machine is shared and slow at times: how long an example takes says nothing about the code.
hypothesis_settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("shared-machine")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        group = TOGETHER.get(item.path.relative_to(TESTS).parts[0])
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))


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
    await connection.execute("TRUNCATE streams, events, commands, claims, outbox, undecided_commands")
    yield connection
    await connection.close()
