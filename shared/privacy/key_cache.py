"""Keys as projectors need them: looked up once for a batch, and kept for a while.

A key is used for at most KEEP_S after it was destroyed. That is harmless: a store applies the events of a subject that it knows to be
erased in the erased form, whatever key opened them (``projectors.stores.erasure``).
"""

import time
from collections.abc import Callable, Collection
from typing import Final

from shared.privacy.key_database import KeyDatabase
from shared.privacy.sealing import Keys

KEEP_S: Final = 30.0
MOST: Final = 20_000
"""Keys; some 4 MB."""


class KeyCache:
    def __init__(self, database: KeyDatabase, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[bytes | None, float]] = {}

    async def keys(self, subjects: Collection[str]) -> Keys:
        """As ``KeyDatabase.keys``, perhaps KEEP_S old. A subject without a key is looked up each time."""
        now = self._clock()
        found: dict[str, bytes | None] = {}
        for subject in subjects:
            known = self._known.get(subject)
            if known is not None and known[1] > now:
                found[subject] = known[0]
        if missing := [subject for subject in subjects if subject not in found]:
            fresh = await self._database.keys(missing)
            if len(self._known) + len(fresh) > MOST:
                self._known.clear()
            self._known |= {subject: (key, now + KEEP_S) for subject, key in fresh.items()}
            found |= fresh
        return found

    def forget(self, subject: str) -> None:
        """Look it up again."""
        self._known.pop(subject, None)

    async def close(self) -> None:
        await self._database.close()
