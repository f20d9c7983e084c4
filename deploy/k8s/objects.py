"""The words that every manifest uses: names, labels, and who may be reached."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Object = dict[str, Any]
"""A Kubernetes object, as YAML has it."""

PART_OF: Final = {"app.kubernetes.io/part-of": "tidemark"}
DEPLOYABLE: Final = "deployable"
"""The label with a deployable's name, which rules and dashboards use as well."""
SERVER: Final = "tidemark-server"
"""The label with a server's name, on its pods, whichever component runs it."""
ACCESS: Final = "tidemark-access"
"""The label of namespaces from which something may reach pods here: ``gateway``, ``monitoring``, ``operators``."""


def made(api: str, kind: str, name: str, body: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> Object:
    metadata: Object = {"name": name}
    if labels:
        metadata["labels"] = dict(labels)
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **body}


def labels_of(deployable: str) -> dict[str, str]:
    return {**PART_OF, DEPLOYABLE: deployable}


def pods(label: str, *values: str) -> Object:
    """The pods here with one of these values of a label."""
    if len(values) == 1:
        return {"podSelector": {"matchLabels": {label: values[0]}}}
    return {"podSelector": {"matchExpressions": [{"key": label, "operator": "In", "values": list(values)}]}}


def namespaces(access: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {ACCESS: access}}}


def tcp(*ports: int) -> list[Object]:
    return [{"port": port, "protocol": "TCP"} for port in ports]


def policy(name: str, selector: Object, **rules: Sequence[Object]) -> Object:
    """``ingress`` and ``egress``: what is allowed; one that is given, and empty, forbids all."""
    types = [kind.capitalize() for kind in rules]
    allowed = {kind: list(each) for kind, each in rules.items() if each}
    return made("networking.k8s.io/v1", "NetworkPolicy", name, {"spec": {**selector, "policyTypes": types, **allowed}})


def spread(label: str, value: str) -> list[Object]:
    """Over nodes and zones, as far as there are some."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {label: value}},
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]
