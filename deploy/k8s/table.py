"""What runs on Kubernetes: every deployable, every server that they use, and who uses which. All manifests follow from it.

The deployables, their settings and their accounts are those of ``deploy/run/deployables.py`` and ``deploy/servers/accounts/urls.py``.
Here is only what Kubernetes has to know besides: how many, how large, how they scale, where the servers are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from deploy.checks.program import NAME as CHECKS
from deploy.run.deployables import DEPLOYABLES
from deploy.servers.accounts import databases
from deploy.servers.accounts.urls import ACCOUNTS, KEYS, OPERATIONS, PROCESSES, QUERY, RABBITMQ, WRITE
from shared.messaging.topology import SUBSCRIBERS
from shared.read_models import IN_POSTGRES, NAMES, READ_MODELS, StoreKind
from shared.runtime.roles import OWNER, role_of
from shared.runtime.settings import Settings

MIGRATE: Final = "migrate"
DATABASES: Final = "databases"
NAMESPACE: Final = "tidemark"
IMAGE: Final = "tidemark"
"""Of every deployable; an overlay says from which registry, and which tag."""
METRICS_PORT: Final = 9464
"""The image's (deploy/Dockerfile)."""
LANES: Final[int] = Settings.model_fields["lanes"].default


class Scaling(StrEnum):
    STANDBY = "standby"
    """One works, the others stand by."""
    LANES = "lanes"
    """The processes share the lanes: at most so many as there are."""
    REQUESTS = "requests"
    """Any number answers requests."""
    ON_REQUEST = "on request"
    """None, until an operator wants one."""


@dataclass(frozen=True)
class Workload:
    """A deployable on Kubernetes. CPU in millicores, memory in MiB. CPU has no limit, so that nobody waits while there is some left."""

    name: str
    arguments: Sequence[str]
    """Of ``python -m``."""
    scaling: Scaling
    settings: Sequence[str]
    """The settings with URLs that it receives."""
    replicas: int = 1
    """In production; at first, where it is scaled."""
    cpu: int = 100
    memory: int = 512
    port: int | None = None
    """Where it answers HTTP."""
    operator_key: bool = False
    temporary: str = "64Mi"
    """How much it may write to /tmp."""

    @property
    def object(self) -> str:
        """The name of its objects: no underscores there."""
        return self.name.replace("_", "-")

    @property
    def secret(self) -> str:
        return f"tidemark-{self.object}"


@dataclass(frozen=True, eq=False)
class Server:
    """A server that deployables use, by the name of the service at which it answers, whichever component runs it."""

    name: str
    host: str
    port: int
    settings: Mapping[str, str]
    """The settings with its URLs → the database; empty: it is not PostgreSQL."""

    @property
    def databases(self) -> Sequence[str]:
        """The one that it is made with first."""
        return tuple(dict.fromkeys(filter(None, self.settings.values())))

    @property
    def superuser(self) -> str:
        """The Secret with username and password of PostgreSQL's superuser."""
        return f"{self.name}-superuser"


_SCALING: Final[Mapping[str, Scaling]] = {
    "worker": Scaling.STANDBY,
    "relay": Scaling.STANDBY,
    "dead_letters": Scaling.STANDBY,
    "http": Scaling.REQUESTS,
    QUERY: Scaling.REQUESTS,
    **dict.fromkeys(NAMES, Scaling.LANES),
    "processes": Scaling.LANES,
}
_PORTS: Final[Mapping[str, int]] = {
    "http": Settings.model_fields["command_port"].default,
    QUERY: Settings.model_fields["query_port"].default,
}
_CPU: Final[Mapping[str, int]] = {"worker": 500, QUERY: 500, "relay": 250, "http": 250, **dict.fromkeys(NAMES, 250)}
_MEMORY: Final[Mapping[str, int]] = {QUERY: 768, "worker": 768}


def _workload(name: str) -> Workload:
    """Raises KeyError for a deployable that says nothing of how it scales."""
    deployable = DEPLOYABLES[name]
    return Workload(
        name,
        deployable.arguments,
        _SCALING[name],
        ACCOUNTS[name],
        replicas=1 if name == "dead_letters" else 2,
        cpu=_CPU.get(name, 100),
        memory=_MEMORY.get(name, 512),
        port=_PORTS.get(name),
        operator_key=deployable.needs_operator_key,
    )


STORES: Final = tuple(
    setting for setting in dict.fromkeys(s for each in ACCOUNTS.values() for s in each) if setting != RABBITMQ
)
"""The settings with the URLs of all stores: the owner has them."""
WORKLOADS: Final = (
    *map(_workload, DEPLOYABLES),
    # It has the owner's rights, so it runs only while it is wanted; `tidemark verify` keeps what it sorts in files.
    Workload(CHECKS, ("deploy.checks",), Scaling.ON_REQUEST, STORES, replicas=0, memory=1024, temporary="4Gi"),
)
OF_SUBSCRIBERS: Final[Mapping[str, Sequence[str]]] = {
    **{name: (name,) for name in NAMES},
    "processes": tuple(name for name in SUBSCRIBERS if name not in NAMES),
}
"""Workload that shares lanes → whose lanes these are."""

BROKER: Final = Server("rabbitmq", "rabbitmq", 5672, {RABBITMQ: ""})
MANAGEMENT_PORT: Final = 15672
REDIS: Final = Server(
    "redis", "redis-master", 6379, {model.setting: "" for model in READ_MODELS if model.store is StoreKind.REDIS}
)
POSTGRES: Final = (
    Server("write-db", "write-db-rw", 5432, {WRITE: databases.WRITE}),
    Server("keys-db", "keys-db-rw", 5432, {KEYS: databases.KEYS}),
    Server(
        "read-db",
        "read-db-rw",
        5432,
        {
            **{model.setting: databases.READ for model in IN_POSTGRES},
            OPERATIONS: databases.OPERATIONS,
            PROCESSES: databases.PROCESSES,
        },
    ),
)
SERVERS: Final = (*POSTGRES, REDIS, BROKER)


def server_of(setting: str) -> Server:
    (found,) = [server for server in SERVERS if setting in server.settings]
    return found


def users_of(server: Server) -> list[str]:
    """The deployables that use it, and what is run for operators."""
    found = [each.name for each in WORKLOADS if set(each.settings) & set(server.settings)]
    return [*found, MIGRATE, *([DATABASES] if server.databases else [])]


def roles_of(server: Server) -> list[str]:
    """The roles that are made in it besides the owner."""
    roles = (
        role_of(each.name) for each in WORKLOADS if each.name != CHECKS and set(each.settings) & set(server.settings)
    )
    return [role for role in dict.fromkeys(roles) if role != OWNER]
