"""Who may reach whom by the network policies of a rendered overlay, as Kubernetes understands them."""

from collections.abc import Iterable, Mapping
from typing import Any

Labels = Mapping[str, str]


def selects(selector: Mapping[str, Any], labels: Labels) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for each in selector.get("matchExpressions", ()):
        assert each["operator"] == "In"
        if labels.get(each["key"]) not in each["values"]:
            return False
    return True


class Network:
    def __init__(self, objects: Iterable[Mapping[str, Any]]) -> None:
        self._policies = [each["spec"] for each in objects if each["kind"] == "NetworkPolicy"]

    def allows(self, source: Labels, target: Labels, port: int) -> bool:
        """From a pod to a pod of the same namespace."""
        leaves = self._side("Egress", "egress", "to", source, target, port)
        return leaves and self._side("Ingress", "ingress", "from", target, source, port)

    def lets_in(self, namespace: Labels, target: Labels, port: int) -> bool:
        """From any pod of another namespace."""
        return self._side("Ingress", "ingress", "from", target, None, port, namespace)

    def lets_out(self, source: Labels, target: Labels, port: int) -> bool:
        return self._side("Egress", "egress", "to", source, target, port)

    def _side(
        self,
        kind: str,
        rules: str,
        peers: str,
        own: Labels,
        other: Labels | None,
        port: int,
        namespace: Labels | None = None,
    ) -> bool:
        chosen = [each for each in self._policies if kind in each["policyTypes"] and selects(each["podSelector"], own)]
        return not chosen or any(
            _has(rule, peers, other, port, namespace) for each in chosen for rule in each.get(rules, ())
        )


def _has(rule: Mapping[str, Any], peers: str, other: Labels | None, port: int, namespace: Labels | None) -> bool:
    if "ports" in rule and not any(each["port"] == port for each in rule["ports"]):
        return False
    return any(_is(peer, other, namespace) for peer in rule[peers])


def _is(peer: Mapping[str, Any], other: Labels | None, namespace: Labels | None) -> bool:
    if namespace is not None:
        return "namespaceSelector" in peer and selects(peer["namespaceSelector"], namespace)
    return other is not None and "namespaceSelector" not in peer and selects(peer["podSelector"], other)
