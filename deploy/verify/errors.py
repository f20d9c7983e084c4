"""Any outage of a server becomes one error that names the server."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from redis.exceptions import RedisError

from deploy.errors import ServerUnavailableError
from shared.runtime.postgres import is_outage
from shared.runtime.reasons import reason


@contextmanager
def server_errors(store: str) -> Iterator[None]:
    """Raises ServerUnavailableError instead of the driver's error."""
    try:
        yield
    except asyncpg.UndefinedTableError as error:
        raise ServerUnavailableError(f"{store}: {error}; has tidemark migrate been run?") from error
    except Exception as error:
        if not (isinstance(error, RedisError) or is_outage(error)):
            raise
        raise ServerUnavailableError(f"{store}: {reason(error)}") from error
