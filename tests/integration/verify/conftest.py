"""A dataset for each test."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from shared.runtime.settings import Settings
from tests.integration.verify.dataset import Dataset, close_dataset, create_dataset, create_schemas


@pytest.fixture(scope="session")
async def schemas(migrated: Settings) -> Settings:
    await create_schemas(migrated)
    return migrated


@pytest.fixture
async def dataset(write_db: asyncpg.Connection, schemas: Settings) -> AsyncIterator[Dataset]:
    dataset = await create_dataset(schemas, write_db)
    yield dataset
    await close_dataset(dataset)
