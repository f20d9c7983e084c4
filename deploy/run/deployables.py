"""Every deployable of Tidemark: how it is started, and which of the settings it may see.

Least privilege: a process gets the URLs of the stores it works on and of no others, and the query service gets them
as a reader. Everything else that the environment has (ports, lanes, log level) is passed on.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deploy.run.child import Program
from deploy.servers.provide import Servers
from shared.read_models import READ_MODELS

RABBITMQ: Final = "TIDEMARK_RABBITMQ_URL"
WRITE: Final = "TIDEMARK_WRITE_DB_URL"
OPERATIONS: Final = "TIDEMARK_OPERATIONS_DB_URL"
STORES: Final = {model.name: f"TIDEMARK_{model.setting.upper()}" for model in READ_MODELS}
OPERATOR_KEY: Final = "TIDEMARK_OPERATOR_KEY"


@dataclass(frozen=True)
class Deployable:
    """A Python module with its arguments, and the URLs it needs."""

    arguments: tuple[str, ...]
    needs: frozenset[str]
    reads_only: bool = False
    checks_operators: bool = False
    """Whether it needs the key that operators present."""


DEPLOYABLES: Final[Mapping[str, Deployable]] = {
    "worker": Deployable(("command_service", "worker"), frozenset({RABBITMQ, WRITE})),
    "relay": Deployable(("command_service", "relay"), frozenset({RABBITMQ, WRITE})),
    "http": Deployable(("command_service", "http"), frozenset({RABBITMQ, WRITE})),
    **{name: Deployable(("projectors", name), frozenset({RABBITMQ, url})) for name, url in STORES.items()},
    "dead_letters": Deployable(("projectors", "dead_letters"), frozenset({RABBITMQ, OPERATIONS})),
    "query": Deployable(
        ("query_service",),
        frozenset({RABBITMQ, OPERATIONS, *STORES.values()}),
        reads_only=True,
        checks_operators=True,
    ),
}
"""By the name that ``tidemark up`` shows, that is said in ``tidemark ready: <name>``, and that health files bear."""


def environment(name: str, servers: Servers, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the deployable finds in its environment: ``base`` (ours by default) without any URL but those it needs."""
    deployable = DEPLOYABLES[name]
    inherited = os.environ if base is None else base
    urls = servers.reader_environ() if deployable.reads_only else servers.environ()
    kept = {key: value for key, value in inherited.items() if not _is_url(key)}
    if not deployable.checks_operators:
        kept.pop(OPERATOR_KEY, None)
    return kept | {key: url for key, url in urls.items() if key in deployable.needs} | {"PYTHONUNBUFFERED": "1"}


def program(name: str, servers: Servers, base: Mapping[str, str] | None = None) -> Program:
    """The deployable as something that ``Supervisor`` can start."""
    arguments = DEPLOYABLES[name].arguments
    return Program(name, (sys.executable, "-m", *arguments), environment(name, servers, base))


def programs(servers: Servers, base: Mapping[str, str] | None = None) -> list[Program]:
    """All of them, in the order in which they are started; they are stopped in the reverse one."""
    return [program(name, servers, base) for name in DEPLOYABLES]


def _is_url(key: str) -> bool:
    return key.startswith("TIDEMARK_") and key.endswith("_URL")
