"""The two ways to run the servers: one of each, or a cluster of each by an operator.

Both answer under the same names, have the same label and take the same Secrets, so that nothing else differs. In production RabbitMQ's
administrator and PostgreSQL's superusers are made by the operators.
"""

from pathlib import Path
from typing import Final

import deploy
from deploy.k8s.objects import SERVER, Object, made, spread
from deploy.k8s.pods import ADMINISTRATOR, from_secret, pod, resources, scripts
from deploy.k8s.table import BROKER, MANAGEMENT_PORT, POSTGRES, REDIS, Server
from deploy.servers.accounts.redis_users import RULES

_FOLDER: Final = Path(deploy.__file__).parent
POSTGRES_SCRIPTS: Final = ("init.sh", "roles.sql", "database.sql")
USER: Final = 999
"""Of PostgreSQL, Redis and RabbitMQ in their official images."""
OWNER_SECRET: Final = "tidemark-owner"  # noqa: S105 - a Secret's name
"""Username and password of the role that owns the databases, for the operator of PostgreSQL."""
REDIS_SECRET: Final = "tidemark-redis"  # noqa: S105 - a Secret's name
POSTGRES_PARAMETERS: Final = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "idle_in_transaction_session_timeout": "60s",
}
REDIS_PARAMETERS: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


def password_variables() -> dict[str, str]:
    """User of Redis → the variable of deploy/redis/start.sh with its password."""
    return {user: "REDIS_PASSWORD" if user == "tidemark" else f"REDIS_{user.upper()}_PASSWORD" for user in RULES}


def postgres_scripts() -> Object:
    files = {name: (_FOLDER / "postgres" / name).read_text() for name in POSTGRES_SCRIPTS}
    return scripts("tidemark-postgres", files)


def single() -> list[Object]:
    found = [each for server in POSTGRES for each in _single_postgres(server)]
    return [*found, *_single_redis(), *_single_rabbitmq()]


def _single(server: Server, container: Object, volumes: list[Object], ports: dict[str, int], size: str) -> list[Object]:
    """A StatefulSet of one, and the service with the name at which the server is known."""
    label = {SERVER: server.name}
    named = [{"name": name, "containerPort": port} for name, port in ports.items()]
    template = pod(
        server.name,
        {**container, "ports": named},
        [{"name": "temporary", "emptyDir": {}}, *volumes],
        labels=label,
        user=USER,
        # PostgreSQL's data and Erlang's cookie are their owner's alone: they are given away once, when the volume is new.
        security={"fsGroupChangePolicy": "OnRootMismatch"},
        terminationGracePeriodSeconds=60,
    )
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }
    stateful: Object = {
        "replicas": 1,
        "serviceName": server.host,
        "selector": {"matchLabels": label},
        "template": template,
        "volumeClaimTemplates": [claim],
    }
    service = {
        "selector": label,
        "ports": [{"name": name, "port": port, "targetPort": name} for name, port in ports.items()],
    }
    return [
        made("apps/v1", "StatefulSet", server.name, {"spec": stateful}, label),
        made("v1", "Service", server.host, {"spec": service}, label),
    ]


def _probe(*command: str) -> Object:
    asked: Object = {"exec": {"command": list(command)}, "timeoutSeconds": 10}
    return {
        "readinessProbe": {**asked, "periodSeconds": 10},
        "startupProbe": {**asked, "periodSeconds": 5, "failureThreshold": 60},
    }


def _single_postgres(server: Server) -> list[Object]:
    container = {
        "image": "postgres",
        "args": [
            "postgres",
            *(part for name, value in POSTGRES_PARAMETERS.items() for part in ("-c", f"{name}={value}")),
        ],
        "env": [
            from_secret("POSTGRES_USER", server.superuser, "username"),
            from_secret("POSTGRES_PASSWORD", server.superuser, "password"),
            {"name": "POSTGRES_INITDB_ARGS", "value": "--encoding=UTF8 --locale=C.UTF-8"},
            {"name": "PGDATA", "value": "/var/lib/postgresql/data/pgdata"},
        ],
        **_probe("pg_isready", "--host", "127.0.0.1", "--dbname", "postgres", "--quiet"),
        "resources": resources(250, 1024),
        "volumeMounts": [
            {"name": "data", "mountPath": "/var/lib/postgresql/data"},
            {"name": "temporary", "mountPath": "/var/run/postgresql"},
        ],
    }
    return _single(server, container, [], {"postgresql": server.port}, "20Gi")


def _single_redis() -> list[Object]:
    settings = [part for name, value in REDIS_PARAMETERS.items() for part in (f"--{name}", value)]
    probe = 'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli --user tidemark ping | grep -q PONG'
    container = {
        "image": "redis",
        "command": ["sh", "/usr/local/share/tidemark/start.sh", "--dir", "/data", "--save", "", *settings],
        "env": [from_secret(name, REDIS_SECRET, name) for name in password_variables().values()],
        **_probe("sh", "-c", probe),
        "resources": resources(100, 1024),
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108
            {"name": "scripts", "mountPath": "/usr/local/share/tidemark", "readOnly": True},
        ],
    }
    start = scripts("tidemark-redis-start", {"start.sh": (_FOLDER / "redis" / "start.sh").read_text()})
    volume = {"name": "scripts", "configMap": {"name": "tidemark-redis-start"}}
    return [start, *_single(REDIS, container, [volume], {"redis": REDIS.port}, "5Gi")]


def _single_rabbitmq() -> list[Object]:
    container = {
        "image": "rabbitmq",
        "env": [
            from_secret("RABBITMQ_DEFAULT_USER", ADMINISTRATOR, "username"),
            from_secret("RABBITMQ_DEFAULT_PASS", ADMINISTRATOR, "password"),
        ],
        **_probe("rabbitmq-diagnostics", "--quiet", "check_port_connectivity"),
        "resources": resources(250, 1024),
        "volumeMounts": [
            {"name": "data", "mountPath": "/var/lib/rabbitmq"},
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108
            {"name": "logs", "mountPath": "/var/log/rabbitmq"},
        ],
    }
    ports = {"amqp": BROKER.port, "management": MANAGEMENT_PORT}
    return _single(BROKER, container, [{"name": "logs", "emptyDir": {}}], ports, "10Gi")


def by_operators() -> list[Object]:
    """RabbitMQ: the RabbitMQ Cluster Operator. PostgreSQL: CloudNativePG. Redis: the Redis operator of OpsTree (OT-CONTAINER-KIT)."""
    return [_rabbitmq_cluster(), *map(_postgres_cluster, POSTGRES), *_redis_replication()]


def _rabbitmq_cluster() -> Object:
    label = {SERVER: BROKER.name}
    template: Object = {
        "metadata": {"labels": label},
        "spec": {"containers": [], "topologySpreadConstraints": spread("app.kubernetes.io/name", BROKER.host)},
    }
    spec = {
        "replicas": 3,
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
        "persistence": {"storage": "50Gi"},
        "rabbitmq": {
            "additionalPlugins": ["rabbitmq_prometheus"],
            "additionalConfig": "cluster_partition_handling = pause_minority\nvm_memory_high_watermark.relative = 0.5\n",
        },
        "override": {"statefulSet": {"spec": {"template": template}}},
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "labelSelector": {"matchLabels": {"app.kubernetes.io/name": BROKER.host}},
                        "topologyKey": "kubernetes.io/hostname",
                    }
                ]
            }
        },
    }
    return made("rabbitmq.com/v1beta1", "RabbitmqCluster", BROKER.host, {"spec": spec}, label)


def _postgres_cluster(server: Server) -> Object:
    spec = {
        "instances": 3,
        "imageName": "ghcr.io/cloudnative-pg/postgresql:17.6-system-trixie",
        "inheritedMetadata": {"labels": {SERVER: server.name}},
        # For the job that makes roles and databases.
        "enableSuperuserAccess": True,
        "bootstrap": {
            "initdb": {
                "database": server.databases[0],
                "owner": "tidemark",
                "secret": {"name": OWNER_SECRET},
                "encoding": "UTF8",
                "localeCollate": "C.UTF-8",
                "localeCType": "C.UTF-8",
            }
        },
        "postgresql": {
            # What is committed is on a second machine, and only one that has it is promoted.
            "synchronous": {"method": "any", "number": 1, "failoverQuorum": True},
            "parameters": POSTGRES_PARAMETERS,
        },
        "affinity": {
            "enablePodAntiAffinity": True,
            "podAntiAffinityType": "required",
            "topologyKey": "kubernetes.io/hostname",
        },
        "topologySpreadConstraints": spread("cnpg.io/cluster", server.name)[1:],
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
        "storage": {"size": "50Gi"},
        "walStorage": {"size": "10Gi"},
    }
    return made("postgresql.cnpg.io/v1", "Cluster", server.name, {"spec": spec}, {SERVER: server.name})


def _redis_replication() -> list[Object]:
    limits = {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
    small = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}
    user = {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    password = {"name": REDIS_SECRET, "key": "REDIS_DEFAULT_PASSWORD"}
    spec = {
        "clusterSize": 3,
        "kubernetesConfig": {"image": "quay.io/opstree/redis:v7.0.15", "redisSecret": password, "resources": limits},
        "acl": {"secret": {"secretName": REDIS_SECRET}},
        "redisConfig": {"additionalRedisConfig": "tidemark-redis"},
        "podSecurityContext": user,
        "securityContext": security,
        "pdb": {"enabled": True, "maxUnavailable": 1},
        "topologySpreadConstraints": spread(SERVER, REDIS.name),
        "sentinel": {
            "size": 3,
            "image": "quay.io/opstree/redis-sentinel:v7.0.15",
            "redisSecret": password,
            "resources": small,
            "podSecurityContext": user,
            "securityContext": security,
        },
        "storage": {
            "volumeClaimTemplate": {
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
            }
        },
    }
    configuration = "".join(f"{name} {value}\n" for name, value in REDIS_PARAMETERS.items())
    return [
        scripts("tidemark-redis", {"redis-additional.conf": configuration}),
        made(
            "redis.redis.opstreelabs.in/v1beta2", "RedisReplication", REDIS.name, {"spec": spec}, {SERVER: REDIS.name}
        ),
    ]
