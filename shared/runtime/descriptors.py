"""File descriptors: a process has as many as the system allows it, and never lets connections take the last ones.

A server that has none left cannot accept, and granian tries again at once, for ever, with all the CPU there is. So what may be
connected is less than what the process has: ``RESERVE`` stay for its stores, the broker, its log and its health file.
"""

import resource
from contextlib import suppress
from typing import Final

MOST: Final = 65_536
"""More is of no use here, and makes programs slow that go through all the numbers there may be."""
RESERVE: Final = 96
"""At most some sixty are in use: pools of eight to three stores, twice while generations are switched; RabbitMQ; the event loop."""


def raise_limit() -> None:
    """Raise the soft limit to the hard one, or to MOST. Where that is not allowed, the process lives with what it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def spare() -> int:
    """How many this process may give to connections."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (MOST if soft == resource.RLIM_INFINITY else soft) - RESERVE
