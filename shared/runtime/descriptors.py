"""File descriptor limits: connections never use a process's last descriptors.

A server without free descriptors cannot accept a connection; granian then retries at once, endlessly, at 100 % CPU. So the number of
connections is bounded below the limit: ``RESERVE`` descriptors remain for the stores, the broker, the log and the health file.
"""

import resource
from contextlib import suppress
from typing import Final

MAX_DESCRIPTORS: Final = 65_536
"""A higher limit is of no use here, and slows down programs that iterate over all possible descriptors."""
RESERVE: Final = 96
"""About sixty are used at most: pools of eight to three stores, twice while generations are switched; RabbitMQ; the event loop."""


def raise_limit() -> None:
    """Raise the soft limit to the hard limit, at most to MAX_DESCRIPTORS. Where that is not permitted, the limit stays unchanged."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(MAX_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def available_for_connections() -> int:
    """The number of descriptors available for connections."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft) - RESERVE
