"""What reaches into the system from outside: the front door's routes, scaling by figures, and monitoring."""

from typing import Final

from deploy.k8s.objects import PART_OF, Object, made
from deploy.k8s.table import LANES, METRICS_PORT, OF_SUBSCRIBERS, WORKLOADS, Scaling, Workload
from deploy.observability.alerting.files import groups
from shared.status.queues import LANES as ALL_LANES

COMMAND_PATHS: Final = ("/commands", "/scheduled-commands", "/streams", "/contracts", "/schema/commands")
"""Those of the command service, as in deploy/gateway/haproxy.cfg; all others are the query service's."""
PROMETHEUS: Final = "http://prometheus-operated.monitoring.svc:9090"
WAITING: Final = 1000
"""Messages in the longest lane, a message may have 100 events: from here on one more process."""
LAG_S: Final = 5
"""Seconds behind: from here on one more process."""
MOST_SERVERS: Final = 8
"""Of each HTTP service."""


def front_door() -> list[Object]:
    """Paths pass unchanged. Requests may last (`Prefer: wait`, event streams). Of the health only what a balancer needs is shown."""

    def to(name: str, port: int, *paths: str, **more: object) -> Object:
        matches = [{"path": {"type": "PathPrefix", "value": path}} for path in paths]
        return {
            "matches": matches,
            **more,
            "backendRefs": [{"name": name, "port": port}],
            "timeouts": {"request": "0s"},
        }

    ports = {each.name: each.port for each in WORKLOADS if each.port}
    serving = {"type": "ReplaceFullPath", "replaceFullPath": "/health/serving"}
    spec = {
        # An overlay of yours names your gateway, and the names that clients use.
        "parentRefs": [{"name": "public", "namespace": "gateway"}],
        "hostnames": ["tidemark.example.org"],
        "rules": [
            to("query", ports["query"], "/health", filters=[{"type": "URLRewrite", "urlRewrite": {"path": serving}}]),
            to("http", ports["http"], *COMMAND_PATHS),
            to("query", ports["query"], "/"),
        ],
    }
    return [made("gateway.networking.k8s.io/v1", "HTTPRoute", "tidemark", {"spec": spec}, PART_OF)]


def scaling() -> list[Object]:
    return [_scaled(each) for each in WORKLOADS if each.scaling in (Scaling.LANES, Scaling.REQUESTS)]


def _scaled(workload: Workload) -> Object:
    if workload.scaling is Scaling.LANES:
        names = OF_SUBSCRIBERS[workload.name]
        queues = "|".join(f"{name} {ALL_LANES}" for name in names)
        triggers = [
            _figure(f'max(tidemark_queue_messages{{queue=~"{queues}"}})', WAITING),
            _figure(f'max(tidemark_projection_lag_seconds{{projection=~"{"|".join(names)}"}})', LAG_S),
        ]
        most = LANES
    else:
        triggers = [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}}]
        most = MOST_SERVERS
    slowly = {"scaleDown": {"stabilizationWindowSeconds": 300}}
    spec: Object = {
        "scaleTargetRef": {"name": workload.object},
        "minReplicaCount": workload.replicas,
        "maxReplicaCount": most,
        "pollingInterval": 15,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": slowly}},
        "triggers": triggers,
    }
    if workload.scaling is Scaling.LANES:
        # Without figures there are as many as there were.
        spec["fallback"] = {"failureThreshold": 4, "replicas": workload.replicas, "behavior": "currentReplicasIfHigher"}
    return made("keda.sh/v1alpha1", "ScaledObject", workload.object, {"spec": spec}, PART_OF)


def _figure(query: str, threshold: int) -> Object:
    """A trigger that wants ``figure / threshold`` processes. No figure is a failure, not a zero."""
    return {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": PROMETHEUS,
            "query": query,
            "threshold": str(threshold),
            "ignoreNullValues": "false",
        },
    }


def monitoring() -> list[Object]:
    """One headless service with every pod's figures, ready or not, and all rules."""
    service = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": PART_OF,
        "ports": [{"name": "metrics", "port": METRICS_PORT, "targetPort": "metrics"}],
    }
    label = {**PART_OF, "metrics": "tidemark"}
    monitor = {
        "selector": {"matchLabels": label},
        # The job is "tidemark", and each target has the label `deployable`: rules and dashboards use both.
        "jobLabel": "metrics",
        "podTargetLabels": ["deployable"],
        "endpoints": [{"port": "metrics", "interval": "15s"}],
    }
    return [
        made("v1", "Service", "metrics", {"spec": service}, label),
        made("monitoring.coreos.com/v1", "ServiceMonitor", "tidemark", {"spec": monitor}, PART_OF),
        made("monitoring.coreos.com/v1", "PrometheusRule", "tidemark", {"spec": {"groups": groups()}}, PART_OF),
    ]
