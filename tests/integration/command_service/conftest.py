"""A handler of commands on the write database, which is empty."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from command_service.handling.handler import Handler
from shared.runtime.settings import Settings


@pytest.fixture
async def handler(write_db: asyncpg.Connection, migrated: Settings) -> AsyncIterator[Handler]:
    made = Handler(migrated.write_db_url, migrated.keys_db_url)
    yield made
    await made.close()
