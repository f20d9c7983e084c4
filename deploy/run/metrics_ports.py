"""The ports on which the deployables of ``tidemark up`` serve ``/metrics``: free ones, kept from run to run, on the loopback address."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from deploy.servers.persistent_ports import PersistentPorts
from shared.observability import targets

TARGETS: Final = "TIDEMARK_METRICS_TARGETS"
PORT: Final = "TIDEMARK_METRICS_PORT"
HOST: Final = "127.0.0.1"
FOLDER: Final = "metrics"


def choose(folder: Path, deployables: Iterable[str]) -> dict[str, str]:
    """The targets as an environment variable: those that it has already, else a free port for each deployable."""
    if given := os.environ.get(TARGETS):
        return {TARGETS: given}
    names = list(deployables)
    own = folder / FOLDER
    own.mkdir(parents=True, exist_ok=True)
    ports = PersistentPorts(own, *names)
    return {TARGETS: targets.unparse(targets.Target(name, HOST, ports[name]) for name in names)}


def metrics_port(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The setting for the port of one deployable; nothing where the targets do not name it."""
    found = {each.name: each for each in targets.parse(environ.get(TARGETS, ""))}
    return {PORT: str(found[name].port)} if name in found else {}
