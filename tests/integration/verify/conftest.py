"""A town for each test."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.runtime.settings import Settings
from tests.integration.verify.town import Town, built, founded, gone


@pytest.fixture(scope="session")
async def schemas(migrated: Settings) -> Settings:
    await founded(migrated)
    return migrated


@pytest.fixture
async def town(write_db: asyncpg.Connection, schemas: Settings) -> AsyncIterator[Town]:
    town = await built(schemas, write_db)
    yield town
    await gone(town)
