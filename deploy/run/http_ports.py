"""On which ports ``tidemark up`` serves HTTP: those that the settings name, else the documented ones, else, where these are taken, others.

The others are kept in the data folder, and are the same as long as the documented ones stay taken.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy.servers import ports
from deploy.servers.kept_ports import KeptPorts
from shared.runtime.settings import Settings

SERVED: Final[Mapping[str, str]] = {"queries": "query_port", "commands": "command_port"}
"""What is served, and the setting for its port."""


def choose(folder: Path) -> tuple[dict[str, str], Sequence[str]]:
    """The ports as environment variables, and what is to be said of them. One that was named, and is taken, is not replaced."""
    chosen, said = {}, []
    host = Settings().host
    for what, setting in SERVED.items():
        variable = f"TIDEMARK_{setting.upper()}"
        port = int(os.environ.get(variable) or Settings.model_fields[setting].default)
        named = bool(os.environ.get(variable)) and port != 0
        if not named and not (port and ports.is_free(port, host)):
            folder.mkdir(parents=True, exist_ok=True)
            other = KeptPorts(folder, what)[what]
            if port:
                said.append(f"port {port} is taken: {what} are on {other}")
            port = other
        chosen[variable] = str(port)
    return chosen, said
