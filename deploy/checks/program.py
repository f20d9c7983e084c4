"""The runner of checks as a program that ``tidemark up`` supervises beside the deployables, with the rights of an operator."""

import os
import sys
from collections.abc import Mapping
from typing import Final

from deploy.run.child import Program
from deploy.servers.provide import Servers
from shared.runtime.setting_values import FILE

NAME: Final = "checks"
NOT_FOR_IT: Final = frozenset({"TIDEMARK_API_KEY", "TIDEMARK_OPERATOR_KEY", "TIDEMARK_METRICS_PORT"})


def program(servers: Servers, base: Mapping[str, str] | None = None) -> Program:
    """It receives the owner's URLs, as `tidemark verify` does: no deployable may read the write database and the read stores."""
    inherited = os.environ if base is None else base
    kept = {name: value for name, value in inherited.items() if name not in NOT_FOR_IT}
    urls = {name: url for name, url in servers.environ().items() if name + FILE not in kept}
    environ = kept | urls | {"PYTHONUNBUFFERED": "1"}
    return Program(NAME, (sys.executable, "-m", "deploy.checks"), environ)
