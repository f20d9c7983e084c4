"""Whatever a server does when it is away, is one error that names the server."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from redis.exceptions import RedisError

from deploy.verify.models import AwayError
from shared.postgres import is_outage
from shared.reasons import reason


@contextmanager
def named(store: str) -> Iterator[None]:
    """Raises AwayError in place of what the driver raises."""
    try:
        yield
    except asyncpg.UndefinedTableError as error:
        raise AwayError(f"{store}: {error}; has tidemark migrate been run?") from error
    except Exception as error:
        if not (isinstance(error, RedisError) or is_outage(error)):
            raise
        raise AwayError(f"{store}: {reason(error)}") from error
