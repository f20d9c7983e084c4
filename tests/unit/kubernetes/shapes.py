"""The fields of operators' objects that the manifests use. Their own schemas are in no package that could be installed for a test.

``kubectl apply --dry-run=server`` asks the operators themselves. A field that is not here is an error: look it up in the operator's
reference first.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

ANY: Final = object()
"""A part of a pod's specification, or other things of Kubernetes itself."""
MAP: Final = object()
"""Texts by name."""

_RESOURCES: Final = ANY
_TRIGGER: Final = {"type": str, "metricType": str, "metadata": MAP}
_BACKEND: Final = {"name": str, "port": int}
_SECRET: Final = {"name": str, "key": str}
_RULE: Final = {"alert": str, "expr": str, "for": str, "labels": MAP, "annotations": MAP}
_FILTER: Final = {"type": str, "urlRewrite": {"path": {"type": str, "replaceFullPath": str}}}

SHAPES: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("keda.sh/v1alpha1", "ScaledObject"): {
        "scaleTargetRef": {"name": str},
        "minReplicaCount": int,
        "maxReplicaCount": int,
        "pollingInterval": int,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": ANY}},
        "triggers": [_TRIGGER],
        "fallback": {"failureThreshold": int, "replicas": int, "behavior": str},
    },
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): {
        "parentRefs": [{"name": str, "namespace": str}],
        "hostnames": [str],
        "rules": [
            {
                "matches": [{"path": {"type": str, "value": str}}],
                "filters": [_FILTER],
                "backendRefs": [_BACKEND],
                "timeouts": {"request": str},
            }
        ],
    },
    ("monitoring.coreos.com/v1", "ServiceMonitor"): {
        "selector": {"matchLabels": MAP},
        "jobLabel": str,
        "podTargetLabels": [str],
        "endpoints": [{"port": str, "interval": str}],
    },
    ("monitoring.coreos.com/v1", "PrometheusRule"): {"groups": [{"name": str, "rules": [_RULE]}]},
    ("rabbitmq.com/v1beta1", "RabbitmqCluster"): {
        "replicas": int,
        "resources": _RESOURCES,
        "persistence": {"storage": str},
        "rabbitmq": {"additionalPlugins": [str], "additionalConfig": str},
        "override": {"statefulSet": {"spec": {"template": ANY}}},
        "affinity": ANY,
    },
    ("postgresql.cnpg.io/v1", "Cluster"): {
        "instances": int,
        "imageName": str,
        "inheritedMetadata": {"labels": MAP},
        "enableSuperuserAccess": bool,
        "bootstrap": {
            "initdb": {
                "database": str,
                "owner": str,
                "secret": {"name": str},
                "encoding": str,
                "localeCollate": str,
                "localeCType": str,
            }
        },
        "postgresql": {
            "synchronous": {"method": str, "number": int, "failoverQuorum": bool},
            "parameters": MAP,
        },
        "affinity": {"enablePodAntiAffinity": bool, "podAntiAffinityType": str, "topologyKey": str},
        "topologySpreadConstraints": ANY,
        "resources": _RESOURCES,
        "storage": {"size": str},
        "walStorage": {"size": str},
    },
    ("redis.redis.opstreelabs.in/v1beta2", "RedisReplication"): {
        "clusterSize": int,
        "kubernetesConfig": {"image": str, "redisSecret": _SECRET, "resources": _RESOURCES},
        "acl": {"secret": {"secretName": str}},
        "redisConfig": {"additionalRedisConfig": str},
        "podSecurityContext": ANY,
        "securityContext": ANY,
        "pdb": {"enabled": bool, "maxUnavailable": int},
        "topologySpreadConstraints": ANY,
        "sentinel": {
            "size": int,
            "image": str,
            "redisSecret": _SECRET,
            "resources": _RESOURCES,
            "podSecurityContext": ANY,
            "securityContext": ANY,
        },
        "storage": {"volumeClaimTemplate": ANY},
    },
}


def misfits(value: Any, shape: Any, path: str = "spec") -> Sequence[str]:
    """What in it has no place in the shape, or another type than there."""
    if shape is ANY:
        return []
    if shape is MAP:
        texts = isinstance(value, Mapping) and all(isinstance(each, str) for each in value.values())
        return [] if texts else [f"{path} is not texts by name"]
    if isinstance(shape, Mapping):
        if not isinstance(value, Mapping):
            return [f"{path} is not an object"]
        unknown = [f"{path}.{name} is unknown" for name in value.keys() - shape.keys()]
        known = [misfits(each, shape[name], f"{path}.{name}") for name, each in value.items() if name in shape]
        return [*unknown, *(text for texts in known for text in texts)]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{path} is not a list"]
        return [text for place, each in enumerate(value) for text in misfits(each, shape[0], f"{path}[{place}]")]
    return [] if type(value) is shape else [f"{path} is no {shape.__name__}"]
