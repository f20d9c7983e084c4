"""The services that may send commands, as the write database has them: at most MAX_AGE_S old, and read at once for an unknown name.

So a new service's first command is decided, and a revoked one's are refused after MAX_AGE_S. (Its connections are closed at once.)
"""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

from command_service.senders.permission import DEPLOYABLES, Sender
from shared.messaging.access import TRUSTED
from shared.runtime.postgres import Connection

MAX_AGE_S: Final = 2.0

SENDERS: Final = "SELECT name, may, source FROM senders"


async def read_senders(connection: Connection) -> list[Sender]:
    return [Sender(row["name"], tuple(row["may"]), row["source"]) for row in await connection.fetch(SENDERS)]


class SenderDirectory:
    def __init__(
        self, read: Callable[[], Awaitable[Sequence[Sender]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``read`` waits out outages of the database."""
        self._read = read
        self._clock = clock
        self._known: Mapping[str, Sender] = {}
        self._read_at = float("-inf")

    async def of(self, names: Collection[str]) -> Mapping[str, Sender]:
        """The senders among these users; nothing is read for our own."""
        others = {name for name in names if name and name not in TRUSTED and name not in DEPLOYABLES}
        if others and (not others <= self._known.keys() or self._clock() - self._read_at > MAX_AGE_S):
            began = self._clock()
            self._known = {sender.name: sender for sender in await self._read()}
            self._read_at = began
        return self._known
