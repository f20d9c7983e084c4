"""The broker's permissions for what a user does (``access``). Pure.

RabbitMQ checks, by regular expressions on names (queues and exchanges alike) and, for topic exchanges, on routing keys:

    publish                            write on the exchange, and the key
    consume, get, purge                read on the queue
    declare, delete                    configure on the queue; a passive declaration needs any permission on it, since RabbitMQ 4.3
    bind, unbind                       write on the queue, read on the exchange, and the key

A topic exchange without an entry for a user checks no keys, so each user has one for each exchange; all of ours are topic exchanges.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.messaging import topology
from shared.messaging.access import ACCESS, ADMINISTRATOR, Access, user_of

NOTHING: Final = "^$"
EVERYTHING: Final = ".*"


@dataclass(frozen=True, slots=True)
class Permissions:
    """``configure``, ``write``, ``read``: regular expressions on names; ``topics``: exchange → (write, read), on routing keys."""

    configure: str
    write: str
    read: str
    topics: Mapping[str, tuple[str, str]]


OF_ADMINISTRATOR: Final = Permissions(EVERYTHING, EVERYTHING, EVERYTHING, {})


def permissions(access: Access) -> Permissions:
    """Exactly what this access needs."""
    return Permissions(
        configure=_any_of(access.owns),
        # Watched queues: to be the destination of a binding is harmless, as their watchers may read no exchange that matters.
        write=_any_of([*access.publishes, *access.owns, *access.watches]),
        read=_any_of([*access.consumes, *access.owns, *access.listens]),
        topics={
            name: (_any_of(access.publishes.get(name, ())), _any_of(access.listens.get(name, ())))
            for name in topology.declarations(1).exchanges
        },
    )


def of_deployables() -> Mapping[str, Permissions]:
    """User → its permissions, the administrator's included."""
    return {user_of(name): permissions(access) for name, access in ACCESS.items()} | {ADMINISTRATOR: OF_ADMINISTRATOR}


def _any_of(patterns: Iterable[str]) -> str:
    found = sorted(set(map(_expression, patterns)))
    if EVERYTHING in found:
        return EVERYTHING
    return f"^({'|'.join(found)})$" if found else NOTHING


def _expression(pattern: str) -> str:
    """``*`` stands for a word, and matches neither a full stop nor ``#``: who may bind ``a.*`` may not bind ``#``."""
    if pattern == "#":
        return EVERYTHING
    text = re.escape(pattern).replace("\\-", "-")
    return text.replace("\\*", "[^.#]+").replace("\\#", ".+").replace("%", "[0-9]+")
