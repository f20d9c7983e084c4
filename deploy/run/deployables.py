"""Every deployable of Tidemark: how it is started, and which settings it receives.

Least privilege: a process receives only the URLs of the stores that it uses, and the query service receives reader
URLs. All other variables of the environment (ports, lanes, log level) are passed on.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deploy.run.child import Program
from deploy.run.metrics_ports import metrics_port
from deploy.servers.provide import Servers
from shared.read_models import READ_MODELS

RABBITMQ: Final = "TIDEMARK_RABBITMQ_URL"
WRITE: Final = "TIDEMARK_WRITE_DB_URL"
OPERATIONS: Final = "TIDEMARK_OPERATIONS_DB_URL"
PROCESSES: Final = "TIDEMARK_PROCESSES_DB_URL"
STORES: Final = {model.name: model.variable for model in READ_MODELS}
OPERATOR_KEY: Final = "TIDEMARK_OPERATOR_KEY"


@dataclass(frozen=True)
class Deployable:
    """A Python module with its arguments, and the URLs it needs."""

    arguments: tuple[str, ...]
    needs: frozenset[str]
    read_only: bool = False
    needs_operator_key: bool = False
    """Whether it receives the key with which it authenticates operators."""


DEPLOYABLES: Final[Mapping[str, Deployable]] = {
    "worker": Deployable(("command_service", "worker"), frozenset({RABBITMQ, WRITE})),
    "relay": Deployable(("command_service", "relay"), frozenset({RABBITMQ, WRITE})),
    "http": Deployable(("command_service", "http"), frozenset({RABBITMQ, WRITE}), needs_operator_key=True),
    **{name: Deployable(("projectors", name), frozenset({RABBITMQ, url})) for name, url in STORES.items()},
    "processes": Deployable(("projectors", "processes"), frozenset({RABBITMQ, PROCESSES})),
    "dead_letters": Deployable(("projectors", "dead_letters"), frozenset({RABBITMQ, OPERATIONS})),
    "query": Deployable(
        ("query_service",),
        frozenset({RABBITMQ, OPERATIONS, PROCESSES, *STORES.values()}),
        read_only=True,
        needs_operator_key=True,
    ),
}
"""By the name that ``tidemark up``, the line ``tidemark ready: <name>`` and the health files use."""
PAYMENT_PROVIDER: Final = "payment_provider"
PROVIDERS: Final[Mapping[str, Mapping[str, Deployable]]] = {
    "": {},
    "local": {PAYMENT_PROVIDER: Deployable(("deploy.demo.payments",), frozenset({RABBITMQ}))},
}
"""What stands in for a service of others, for demos, drills and tests: by the value of the setting ``payment_provider``."""


def environment(name: str, servers: Servers, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The deployable's environment: ``base`` (by default this process's) with only the URLs that it needs."""
    deployable = _deployable(name)
    inherited = os.environ if base is None else base
    urls = servers.reader_environ() if deployable.read_only else servers.environ()
    kept = {key: value for key, value in inherited.items() if not _is_url(key)}
    if not deployable.needs_operator_key:
        kept.pop(OPERATOR_KEY, None)
    kept |= metrics_port(name, inherited)
    return kept | {key: url for key, url in urls.items() if key in deployable.needs} | {"PYTHONUNBUFFERED": "1"}


def program(name: str, servers: Servers, base: Mapping[str, str] | None = None) -> Program:
    """The deployable as a program for ``Supervisor``."""
    arguments = _deployable(name).arguments
    return Program(name, (sys.executable, "-m", *arguments), environment(name, servers, base))


def programs(servers: Servers, base: Mapping[str, str] | None = None) -> list[Program]:
    """All deployables in start order; they are stopped in reverse order."""
    chosen = (os.environ if base is None else base).get("TIDEMARK_PAYMENT_PROVIDER", "")
    return [program(name, servers, base) for name in (*DEPLOYABLES, *PROVIDERS.get(chosen, {}))]


def _deployable(name: str) -> Deployable:
    return DEPLOYABLES[name] if name in DEPLOYABLES else PROVIDERS["local"][name]


def _is_url(key: str) -> bool:
    return key.startswith("TIDEMARK_") and key.endswith("_URL")
