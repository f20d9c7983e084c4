"""Who may reach what: nothing, except what follows from the table.

A deployable may reach the servers of its own settings, and names' addresses; a server is reached by those, and by its own peers; HTTP is
reached from the gateway's namespace, metrics from the monitoring's.
"""

from collections.abc import Sequence
from typing import Final

from deploy.k8s.objects import DEPLOYABLE, PART_OF, SERVER, Object, namespaces, pods, policy, tcp
from deploy.k8s.table import (
    BROKER,
    DATABASES,
    MANAGEMENT_PORT,
    METRICS_PORT,
    MIGRATE,
    POSTGRES,
    SERVERS,
    WORKLOADS,
    Server,
    server_of,
    users_of,
)

DNS: Final[Object] = {
    "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
}
ALL: Final[Object] = {"podSelector": {}}
OURS: Final[Object] = {"podSelector": {"matchLabels": PART_OF}}


def policies() -> list[Object]:
    return [
        policy("nothing-comes-in", ALL, ingress=()),
        policy("deployables-reach-names-only", OURS, egress=(DNS,)),
        policy("metrics", OURS, ingress=({"from": [namespaces("monitoring")], "ports": tcp(METRICS_PORT)},)),
        *(_leaving(each.object, each.name, list(map(server_of, each.settings))) for each in WORKLOADS),
        _leaving(MIGRATE, MIGRATE, SERVERS),
        _leaving(DATABASES, DATABASES, POSTGRES),
        *(
            policy(
                f"{each.object}-from-the-gateway",
                pods(DEPLOYABLE, each.name),
                ingress=({"from": [namespaces("gateway")], "ports": tcp(each.port)},),
            )
            for each in WORKLOADS
            if each.port
        ),
        *map(_arriving, SERVERS),
    ]


def _leaving(name: str, deployable: str, servers: Sequence[Server]) -> Object:
    rules = [
        {
            "to": [pods(SERVER, server.name)],
            "ports": tcp(server.port, *([MANAGEMENT_PORT] if (server, name) == (BROKER, MIGRATE) else [])),
        }
        for server in dict.fromkeys(servers)
    ]
    return policy(f"{name}-to-its-servers", pods(DEPLOYABLE, deployable), egress=rules)


def _arriving(server: Server) -> Object:
    """Its users; its own peers, on any port; who operates and who watches it."""
    rules = [
        {"from": [pods(DEPLOYABLE, *users_of(server))], "ports": tcp(server.port)},
        {"from": [pods(SERVER, server.name), namespaces("operators")]},
        {"from": [namespaces("monitoring")]},
    ]
    if server == BROKER:
        rules.append({"from": [pods(DEPLOYABLE, MIGRATE)], "ports": tcp(MANAGEMENT_PORT)})
    return policy(f"{server.name}-from-its-users", pods(SERVER, server.name), ingress=rules)
