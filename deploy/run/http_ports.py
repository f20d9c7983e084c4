"""The HTTP ports of ``tidemark up``: those that the settings name, else the documented ones, else, where these are taken, others.

The others are stored in the data folder, and stay the same for as long as the documented ones are taken.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy.servers import ports
from deploy.servers.persistent_ports import PersistentPorts
from shared.runtime.settings import Settings

PORT_SETTINGS: Final[Mapping[str, str]] = {"queries": "query_port", "commands": "command_port"}
"""Service → the setting for its port."""


GATEWAY_SETTING: Final[Mapping[str, str]] = {"gateway requests": "gateway_port"}


def choose(folder: Path, settings: Mapping[str, str] = PORT_SETTINGS) -> tuple[dict[str, str], Sequence[str]]:
    """The ports as environment variables, and messages for the operator. A port that a setting names is never replaced."""
    chosen, messages = {}, []
    host = Settings().host
    for what, setting in settings.items():
        variable = f"TIDEMARK_{setting.upper()}"
        port = int(os.environ.get(variable) or Settings.model_fields[setting].default)
        named = bool(os.environ.get(variable)) and port != 0
        if not named and not (port and ports.is_free(port, host)):
            folder.mkdir(parents=True, exist_ok=True)
            other = PersistentPorts(folder, what)[what]
            if port:
                messages.append(f"port {port} is taken: {what} are on {other}")
            port = other
        chosen[variable] = str(port)
    return chosen, messages
