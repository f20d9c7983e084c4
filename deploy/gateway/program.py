"""The gateway as a program that ``tidemark up`` supervises beside the deployables."""

import os
import sys
from collections.abc import Mapping
from typing import Final

from deploy.gateway.__main__ import NAME
from deploy.gateway.environment import PREFIX
from deploy.run.child import Program
from deploy.servers import packages

TRUSTED_PROXIES: Final = "TIDEMARK_TRUSTED_PROXIES"
ON_THIS_MACHINE: Final = "127.0.0.1,::1"
_SETTINGS: Final = frozenset({"TIDEMARK_AUTH", "TIDEMARK_HOST", "TIDEMARK_QUERY_PORT", "TIDEMARK_COMMAND_PORT"})


def program(base: Mapping[str, str] | None = None) -> Program:
    """``base``: by default this process's environment; of Tidemark's settings it receives only those for addresses and its own.

    HAProxy is installed if it is missing. Raises ``ServersError`` if that fails.
    """
    packages.install_missing(packages.GATEWAY)
    inherited = os.environ if base is None else base
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith("TIDEMARK_") or name.startswith(PREFIX) or name in _SETTINGS
    }
    return Program(NAME, (sys.executable, "-m", "deploy.gateway"), kept | {"PYTHONUNBUFFERED": "1"})
