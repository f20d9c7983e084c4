"""A connection to the write database, for one command of the command line."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg

from deploy.errors import ServerUnavailableError
from shared.runtime.postgres import CONNECT_TIMEOUT_S
from shared.runtime.settings import Settings


@asynccontextmanager
async def write_database(
    settings: Settings, session: Mapping[str, str] | None = None
) -> AsyncIterator[asyncpg.Connection]:
    """``session``: server settings. Raises ServerUnavailableError for a URL that is none, SettingError, and the server's errors."""
    url = settings.require("write_db_url")
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, server_settings=dict(session or {}))
    except ValueError as error:
        raise ServerUnavailableError("TIDEMARK_WRITE_DB_URL is no address of a database") from error
    try:
        yield connection
    finally:
        connection.terminate()
