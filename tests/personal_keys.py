"""A key for every subject: for tests that are about something else."""

import hashlib


class EveryKey(dict[str, bytes | None]):
    """Subject → a key of its own; subjects that are given are as given."""

    def __missing__(self, subject: str) -> bytes:
        return hashlib.sha256(subject.encode()).digest()

    def get(self, subject: str, default: object = None) -> bytes | None:
        return self[subject]

    def __contains__(self, subject: object) -> bool:
        return True


EVERY_KEY = EveryKey()
