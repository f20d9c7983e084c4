"""Prometheus as a program that ``tidemark up --observe`` supervises beside the deployables."""

import os
import sys
from pathlib import Path
from typing import Final

from deploy.observability.private.__main__ import HOST, NAME
from deploy.run.child import Program
from deploy.servers import packages
from deploy.servers.persistent_ports import PersistentPorts

TARGETS: Final = "TIDEMARK_METRICS_TARGETS"


def program(data: Path) -> tuple[Program, str]:
    """The program, and its URL; its port stays the same from run to run. It receives none of Tidemark's settings but the targets.

    Prometheus is installed if it is missing. Raises ``ServersError`` if that fails.
    """
    packages.install_missing(packages.MONITORING)
    folder = (data / NAME).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    port = PersistentPorts(folder, NAME)[NAME]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_") or name == TARGETS}
    arguments = (sys.executable, "-m", "deploy.observability.private", str(folder), str(port))
    return Program(NAME, arguments, kept | {"PYTHONUNBUFFERED": "1"}), f"http://{HOST}:{port}"
