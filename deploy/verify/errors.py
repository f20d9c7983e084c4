"""Whatever a server does when it is away, is one error that names the server."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from redis.exceptions import RedisError

from deploy.verify.models import ServerUnavailableError
from shared.runtime.postgres import is_outage
from shared.runtime.reasons import reason


@contextmanager
def naming_the_server(store: str) -> Iterator[None]:
    """Raises AwayError in place of what the driver raises."""
    try:
        yield
    except asyncpg.UndefinedTableError as error:
        raise ServerUnavailableError(f"{store}: {error}; has tidemark migrate been run?") from error
    except Exception as error:
        if not (isinstance(error, RedisError) or is_outage(error)):
            raise
        raise ServerUnavailableError(f"{store}: {reason(error)}") from error
