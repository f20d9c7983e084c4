"""Which ``Host`` a service answers to: one that is not listed may be a name of others that was pointed at this address (DNS rebinding).

Problem
├── InvalidHostError      400: no ``Host``, several, or one that is malformed
└── MisdirectedError      421: this service does not answer to that name
"""

import re
from collections.abc import Iterable
from typing import Final

from shared.http.problems import Problem

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
EVERY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what a service listens on, never a name of it
ANY: Final = "*"
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?", re.ASCII)
_NAME: Final = re.compile(r"\*|(\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\]", re.ASCII)


class InvalidHostError(Problem):
    status = 400
    code = "invalid-host"


class MisdirectedError(Problem):
    status = 421
    code = "host-not-allowed"


def split_authority(authority: str) -> tuple[str, str]:
    """``name:port`` in lower case, without a final dot; the port is empty if there is none. Raises ValueError."""
    found = _AUTHORITY.fullmatch(authority.lower())
    if found is None:
        raise ValueError(f"{authority[:100]!r} is not a host")
    return found[1].rstrip("."), found[2] or ""


def host_names(text: str) -> tuple[str, ...]:
    """The names in a setting, separated by commas: ``shop.example.org``, ``*.example.org``, ``[::1]`` or ``*``. Raises ValueError."""
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a host name (without a port), *.NAME, or *")
    return names


class AllowedHosts:
    """The loopback names, the address on which the service listens, and ``names``; ``*`` allows all."""

    def __init__(self, names: Iterable[str] = (), listening: str = "") -> None:
        given = {*LOOPBACK, *names}
        if listening and listening not in EVERY_ADDRESS:
            given.add(f"[{listening}]" if ":" in listening else listening.lower())
        self._any = ANY in given
        self._names = frozenset(given)
        self._suffixes = tuple(name[1:] for name in given if name.startswith("*."))
        self._known: set[bytes] = set()
        """Values of the header that were found to be allowed: clients send few different ones."""

    def require(self, values: list[bytes]) -> None:
        """``values``: of all ``Host`` headers of a request. Raises InvalidHostError, MisdirectedError."""
        if len(values) == 1 and values[0] in self._known:
            return
        if len(values) != 1:
            raise InvalidHostError("a request needs exactly one Host")
        try:
            name, _ = split_authority(values[0].decode("latin-1"))
        except ValueError as error:
            raise InvalidHostError(f"Host: {error}") from error
        if not (self._any or name in self._names or name.endswith(self._suffixes)):
            raise MisdirectedError(
                f"this service does not answer to {name[:100]}: TIDEMARK_ALLOWED_HOSTS lists the names it answers to"
            )
        if len(self._known) < MAX_KNOWN:
            self._known.add(values[0])


MAX_KNOWN: Final = 100
