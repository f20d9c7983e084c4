"""The pods of deployables: command, settings, health, limits, and as few rights as there are.

URLs come from a Secret of the deployable's own, mounted as files: a password that is replaced there is used by the next connection (0077).
A process without HTTP is asked for its health by its file: it is alive while it writes it every second, and ready while it says so. A shell
looks, not `tidemark health`, which costs half a second of CPU each time.
"""

from collections.abc import Mapping
from typing import Any, Final

from deploy.k8s.objects import Object, labels_of, made, spread
from deploy.k8s.table import (
    BROKER,
    DATABASES,
    IMAGE,
    MANAGEMENT_PORT,
    METRICS_PORT,
    MIGRATE,
    POSTGRES,
    STORES,
    WORKLOADS,
    Scaling,
    Server,
    Workload,
    roles_of,
)
from deploy.run.deployables import OPERATOR_KEY
from deploy.servers.accounts.urls import RABBITMQ, own_setting
from shared.messaging.access import ACCESS as BROKER_USERS
from shared.runtime.setting_values import FILE, variable

USER: Final = 10001
"""The image's (deploy/Dockerfile)."""
SECRETS: Final = "/etc/tidemark/secrets"
RUNTIME: Final = "/run/tidemark"
SETTINGS: Final = "tidemark-settings"
ADMINISTRATOR: Final = "rabbitmq-default-user"
"""The Secret with RabbitMQ's administrator, username and password; RabbitMQ's operator makes one of this name by itself."""
PASSWORDS: Final = "tidemark-databases"
"""The Secret with the password of each role of PostgreSQL, as ``<ROLE>_DB_PASSWORD``."""
FRESH_S: Final = 15
"""A health file that is older is of a process whose loop stands still; it is written every second."""
RESTRICTED: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def health_command(name: str, *, ready: bool) -> list[str]:
    file = f"{RUNTIME}/{name}.json"
    fresh = f"test $(($(date +%s) - $(stat -c %Y {file}))) -le {FRESH_S}"
    return ["sh", "-c", f"{fresh} && grep -q '\"ready\": true' {file}" if ready else fresh]


def _probes(workload: Workload) -> Object:
    if workload.port:
        live: Object = {"httpGet": {"path": "/health/live", "port": "http"}}
        ready: Object = {"httpGet": {"path": "/health/serving", "port": "http"}}
    else:
        live = {"exec": {"command": health_command(workload.name, ready=False)}}
        ready = {"exec": {"command": health_command(workload.name, ready=True)}}
    return {
        "startupProbe": {**live, "periodSeconds": 2, "failureThreshold": 60, "timeoutSeconds": 5},
        "livenessProbe": {**live, "periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 5},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 2, "timeoutSeconds": 5},
    }


def _volumes(temporary: str) -> tuple[list[Object], list[Object]]:
    """Volumes and mounts of what may be written."""
    return (
        [
            {"name": "runtime", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
            {"name": "temporary", "emptyDir": {"sizeLimit": temporary}},
        ],
        [{"name": "runtime", "mountPath": RUNTIME}, {"name": "temporary", "mountPath": "/tmp"}],  # noqa: S108
    )


def pod(
    name: str,
    container: Object,
    volumes: list[Object],
    *,
    labels: Mapping[str, str] | None = None,
    user: int = USER,
    security: Mapping[str, str] | None = None,
    **more: Any,
) -> Object:
    """The template of a pod that has no rights. ``labels``: if not a deployable's; ``security``, ``more``: of its spec."""
    spec = {
        "automountServiceAccountToken": False,
        # Kubernetes would add a variable for each service, in names that settings may have.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            **(security or {}),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **more,
        "containers": [{"name": name, **container, "securityContext": RESTRICTED}],
        "volumes": volumes,
    }
    return {"metadata": {"labels": dict(labels or labels_of(name))}, "spec": spec}


def resources(cpu: int, memory: int) -> Object:
    return {"requests": {"cpu": f"{cpu}m", "memory": f"{memory // 2}Mi"}, "limits": {"memory": f"{memory}Mi"}}


def deployment(workload: Workload) -> Object:
    names = [*workload.settings, *(["operator_key"] if workload.operator_key else [])]
    volumes, mounts = _volumes(workload.temporary)
    files = {name: OPERATOR_KEY if name == "operator_key" else variable(name) for name in names}
    items = [{"key": name, "path": name} for name in names]
    secret = {"name": "secrets", "secret": {"secretName": workload.secret, "items": items, "defaultMode": 0o440}}
    container: Object = {
        "image": IMAGE,
        "command": ["python", "-m", *workload.arguments],
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "env": [{"name": name + FILE, "value": f"{SECRETS}/{file}"} for file, name in files.items()],
        "ports": [
            *([{"name": "http", "containerPort": workload.port}] if workload.port else []),
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        **_probes(workload),
        "resources": resources(workload.cpu, workload.memory),
        "volumeMounts": [{"name": "secrets", "mountPath": SECRETS, "readOnly": True}, *mounts],
    }
    if workload.port:
        # So long after it was asked to end it still gets requests, until everybody knows.
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": 5}}}
    template = pod(
        workload.name,
        container,
        [secret, *volumes],
        terminationGracePeriodSeconds=40,
        topologySpreadConstraints=spread("deployable", workload.name),
    )
    spec: Object = {
        "selector": {"matchLabels": labels_of(workload.name)},
        "revisionHistoryLimit": 3,
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": template,
    }
    # Where something else decides how many there are, none is said here: applying this again would undo what it has decided.
    if workload.scaling in (Scaling.STANDBY, Scaling.ON_REQUEST):
        spec = {"replicas": min(workload.replicas, 1), **spec}
    return made("apps/v1", "Deployment", workload.object, {"spec": spec}, labels_of(workload.name))


def service(workload: Workload) -> Object:
    assert workload.port  # noqa: S101
    spec = {
        "selector": labels_of(workload.name),
        "ports": [{"name": "http", "port": workload.port, "targetPort": "http"}],
    }
    return made("v1", "Service", workload.object, {"spec": spec}, labels_of(workload.name))


def disruption_budget(workload: Workload) -> Object:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": labels_of(workload.name)}}
    return made("policy/v1", "PodDisruptionBudget", workload.object, {"spec": spec}, labels_of(workload.name))


def _job(name: str, label: str, container: Object, volumes: list[Object], **more: Any) -> Object:
    """A job that is tried again until the servers are there; it is removed an hour after it has succeeded."""
    template = pod(label, container, volumes, restartPolicy="OnFailure", **more)
    spec = {"backoffLimit": 20, "ttlSecondsAfterFinished": 3600, "template": template}
    return made("batch/v1", "Job", name, {"spec": spec}, labels_of(label))


def from_secret(name: str, secret: str, key: str) -> Object:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def migration() -> Object:
    """``tidemark migrate``, with the owner's URLs, RabbitMQ's administrator, and the deployables' own URLs of RabbitMQ."""
    owner = [{"key": name, "path": name} for name in STORES]
    sources: list[Object] = [{"secret": {"name": "tidemark-migrate", "items": owner}}]
    files = {name: variable(name) for name in STORES}
    for workload in WORKLOADS:
        if workload.name in BROKER_USERS:
            own = own_setting(workload.name, RABBITMQ)
            files[own] = variable(own)
            sources.append({"secret": {"name": workload.secret, "items": [{"key": RABBITMQ, "path": own}]}})
    volumes, mounts = _volumes("64Mi")
    administrator = "$(RABBITMQ_USERNAME):$(RABBITMQ_PASSWORD)@" + BROKER.host
    container = {
        "image": IMAGE,
        "command": ["tidemark", "migrate"],
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "env": [
            from_secret("RABBITMQ_USERNAME", ADMINISTRATOR, "username"),
            from_secret("RABBITMQ_PASSWORD", ADMINISTRATOR, "password"),
            {"name": "TIDEMARK_RABBITMQ_URL", "value": f"amqp://{administrator}:{BROKER.port}/?heartbeat=10"},
            {"name": "TIDEMARK_RABBITMQ_MANAGEMENT_URL", "value": f"http://{administrator}:{MANAGEMENT_PORT}"},
            *({"name": name + FILE, "value": f"{SECRETS}/{file}"} for file, name in files.items()),
        ],
        "resources": resources(100, 512),
        "volumeMounts": [{"name": "secrets", "mountPath": SECRETS, "readOnly": True}, *mounts],
    }
    secrets = {"name": "secrets", "projected": {"sources": sources, "defaultMode": 0o440}}
    return _job(MIGRATE, MIGRATE, container, [secrets, *volumes])


def databases(server: Server) -> Object:
    """Makes the databases and roles in one server, as its superuser, with what docker compose does it with."""
    roles = roles_of(server)
    container = {
        "image": "postgres",
        "command": ["bash", "/usr/local/share/tidemark/init.sh"],
        "env": [
            from_secret("POSTGRES_USER", server.superuser, "username"),
            from_secret("PGPASSWORD", server.superuser, "password"),
            {"name": "PGHOST", "value": server.host},
            {"name": "TIDEMARK_DATABASES", "value": " ".join(server.databases)},
            {"name": "TIDEMARK_ROLES", "value": ",".join(roles)},
            *(from_secret(password_of(role), PASSWORDS, password_of(role)) for role in ("tidemark", *roles)),
        ],
        "resources": resources(50, 128),
        "volumeMounts": [{"name": "scripts", "mountPath": "/usr/local/share/tidemark", "readOnly": True}],
    }
    scripts = {"name": "scripts", "configMap": {"name": "tidemark-postgres"}}
    return _job(f"{DATABASES}-{server.name}", DATABASES, container, [scripts], user=999)


def password_of(role: str) -> str:
    """The key of ``PASSWORDS``, and the variable of deploy/postgres/init.sh, with a role's password."""
    return f"{role.upper()}_DB_PASSWORD"


def scripts(name: str, files: Mapping[str, str]) -> Object:
    return made("v1", "ConfigMap", name, {"data": dict(files)})


def database_jobs() -> list[Object]:
    return [databases(server) for server in POSTGRES]
