"""The setting ``TIDEMARK_METRICS_TARGETS``: where each process serves ``/metrics``, as ``worker=127.0.0.1:21001 relay=127.0.0.1:21002``.

A name may be there several times, for several processes of a deployable.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Target(NamedTuple):
    name: str
    host: str
    port: int

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/metrics"


def parse(text: str) -> list[Target]:
    """Raises ValueError, which says what is wrong."""
    found = []
    for part in text.replace(",", " ").split():
        name, equals, address = part.partition("=")
        host, colon, port = address.rpartition(":")
        if not (name and equals and host and colon and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"TIDEMARK_METRICS_TARGETS: {part!r} is not <deployable>=<host>:<port>")
        found.append(Target(name, host.strip("[]"), int(port)))
    return found


def unparse(targets: Iterable[Target]) -> str:
    return " ".join(f"{each.name}={each.host}:{each.port}" for each in targets)
