"""The manifests follow from the code, are valid, and give each pod what docker compose gives it, and no more."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from deploy.checks.program import NAME as CHECKS
from deploy.k8s import edge, generate
from deploy.k8s.pods import RUNTIME, SECRETS, USER
from deploy.k8s.table import LANES, METRICS_PORT, SERVERS
from deploy.observability import generate as observability
from deploy.observability.alerting import files
from deploy.run.deployables import DEPLOYABLES
from shared.messaging.topology import SUBSCRIBERS
from shared.observability import metrics
from shared.observability.families import FAMILIES
from shared.read_models import NAMES
from shared.runtime.settings import Settings
from tests.unit.kubernetes.conftest import Objects
from tests.unit.kubernetes.reaching import Network
from tests.unit.kubernetes.shapes import SHAPES, misfits

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.load((ROOT / "docker-compose.yml").read_text(), Loader=yaml.CSafeLoader)["services"]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
KUBERNETES = "1.34"
"""The version whose schemas they have to fit."""
VARIABLE = re.compile(r"\$\{(\w+)(?::[?-][^}]*)?\}")


def of_kind(objects: Objects, *kinds: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in objects if each["kind"] in kinds}


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def container_of(workload: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod_of(workload)["containers"]
    return dict(found)


def url_variables(environment: dict[str, Any]) -> dict[str, str]:
    return {name: url for name, url in environment.items() if name.endswith("_URL") and "JWKS" not in name}


def test_the_files_are_what_the_table_makes_of_them() -> None:
    wanted = generate.generated()
    for path, text in wanted.items():
        assert path.read_text() == text, f"{path}: run python -m deploy.k8s.generate"
    for pattern in generate.OWNED:
        assert set(generate.FOLDER.glob(pattern)) <= wanted.keys()


def test_every_object_fits_its_schema(small: Objects, production: Objects) -> None:
    objects = [*small, *(each for each in production if each not in small)]
    assert {each["kind"] for each in objects} >= {
        "ScaledObject",
        "HTTPRoute",
        "ServiceMonitor",
        "Cluster",
        "Deployment",
    }
    for each in objects:
        shape = SHAPES.get((each["apiVersion"], each["kind"]))
        if shape is None:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
        else:
            assert not misfits(each["spec"], shape), each["metadata"]["name"]


def test_a_wrong_field_is_found(production: Objects) -> None:
    route = of_kind(production, "HTTPRoute")["tidemark"]
    wrong = {**route["spec"], "rules": [{"backendRefs": [{"name": "query", "port": "8080"}], "timeout": {}}]}
    found = misfits(wrong, SHAPES[route["apiVersion"], "HTTPRoute"])
    assert sorted(found) == ["spec.rules[0].backendRefs[0].port is no int", "spec.rules[0].timeout is unknown"]
    deployment = of_kind(production, "Deployment")["worker"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**deployment, "spec": {**deployment["spec"], "replica": 1}}, KUBERNETES, strict=True
        )


@pytest.mark.parametrize("name", [*DEPLOYABLES, CHECKS])
def test_a_deployable_runs_as_in_docker_compose(small: Objects, name: str) -> None:
    container = container_of(of_kind(small, "Deployment")[name.replace("_", "-")])
    assert container["command"] == COMPOSE[name]["command"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    urls = url_variables(COMPOSE[name]["environment"])
    assert {name for name in environment if name != "TIDEMARK_OPERATOR_KEY_FILE"} == {f"{name}_FILE" for name in urls}
    assert ("TIDEMARK_OPERATOR_KEY_FILE" in environment) == ("TIDEMARK_OPERATOR_KEY" in COMPOSE[name]["environment"])
    assert all(path == f"{SECRETS}/{name[9:-5].lower()}" for name, path in environment.items())
    for name in [*environment, *of_kind(small, "ConfigMap")["tidemark-settings"]["data"]]:
        assert name.removeprefix("TIDEMARK_").removesuffix("_FILE").lower() in Settings.model_fields


def test_every_deployable_of_docker_compose_is_there(small: Objects) -> None:
    built = {name for name, each in COMPOSE.items() if each.get("image") == "tidemark:local"}
    deployed = {name.replace("-", "_") for name in of_kind(small, "Deployment")}
    assert deployed | {"migrate"} == built
    migrate = container_of(of_kind(small, "Job")["migrate"])
    assert migrate["command"] == COMPOSE["migrate"]["command"]
    given = {each["name"].removesuffix("_FILE") for each in migrate["env"]} - {"RABBITMQ_USERNAME", "RABBITMQ_PASSWORD"}
    assert given == COMPOSE["migrate"]["environment"].keys()


def test_ports_user_and_folders_are_those_of_the_image_and_the_settings(small: Objects) -> None:
    assert f"TIDEMARK_METRICS_PORT={METRICS_PORT}" in DOCKERFILE
    assert f"TIDEMARK_RUNTIME_DIR={RUNTIME}" in DOCKERFILE
    assert f"USER {USER}" in DOCKERFILE
    services = of_kind(small, "Service")
    for name, setting in (("http", "command_port"), ("query", "query_port")):
        port = Settings.model_fields[setting].default
        container = container_of(of_kind(small, "Deployment")[name])
        assert {"name": "http", "containerPort": port} in container["ports"]
        assert services[name]["spec"]["ports"][0]["port"] == port
    for server in SERVERS:
        assert server.port in [each["port"] for each in services[server.host]["spec"]["ports"]]


def test_every_pod_has_as_few_rights_as_it_can(small: Objects, production: Objects) -> None:
    found = [each for each in (*small, *production) if each["kind"] in ("Deployment", "StatefulSet", "Job")]
    assert len(found) >= 30
    for each in found:
        pod, name = pod_of(each), each["metadata"]["name"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["limits"]["memory"], name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name


def test_a_pod_reaches_the_servers_of_its_urls_and_no_other(small: Objects) -> None:
    network = Network(small)
    labels = {
        name: {**each["spec"]["template"]["metadata"]["labels"]} for name, each in of_kind(small, "Deployment").items()
    }
    servers = {
        name: each["spec"]["template"]["metadata"]["labels"] for name, each in of_kind(small, "StatefulSet").items()
    }
    ports = {server.name: server.port for server in SERVERS}
    labels["migrate"] = of_kind(small, "Job")["migrate"]["spec"]["template"]["metadata"]["labels"]
    for name, own in labels.items():
        urls = url_variables(COMPOSE[name.replace("-", "_")]["environment"])
        hosts = {urlsplit(VARIABLE.sub("x", url)).hostname for url in urls.values()}
        assert {server for server in servers if network.allows(own, servers[server], ports[server])} == hosts, name
        assert network.allows(own, servers["rabbitmq"], 15672) == (name == "migrate")
        assert not any(network.allows(own, other, port) for other in labels.values() for port in (8080, 8081, 9464))
        assert not network.lets_out(own, {"app": "something else"}, 443)


def test_http_is_for_the_gateway_and_metrics_are_for_monitoring(small: Objects) -> None:
    network = Network(small)
    for each in of_kind(small, "Deployment").values():
        own = each["spec"]["template"]["metadata"]["labels"]
        for port in (8080, 8081, 9464):
            listens = port in [named["containerPort"] for named in container_of(each)["ports"]]
            gateway = network.lets_in({"tidemark-access": "gateway"}, own, port)
            monitoring = network.lets_in({"tidemark-access": "monitoring"}, own, port)
            assert (gateway, monitoring) == (listens and port != 9464, port == 9464)
            assert not network.lets_in({"kubernetes.io/metadata.name": "default"}, own, port)


def test_what_shares_lanes_grows_to_their_number_and_no_further(production: Objects) -> None:
    scaled, deployments = of_kind(production, "ScaledObject"), of_kind(production, "Deployment")
    assert scaled.keys() == {*NAMES, "processes", "http", "query"}
    lanes = int(of_kind(production, "ConfigMap")["tidemark-settings"]["data"]["TIDEMARK_LANES"])
    families = {family.name: family for family in FAMILIES}
    assert {metrics.LAG, metrics.QUEUE_MESSAGES} <= set(FAMILIES)
    watched = set()
    for name, each in scaled.items():
        assert each["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in deployments[name]["spec"], "applying it again would undo the scaling"
        if name in ("http", "query"):
            continue
        assert each["spec"]["maxReplicaCount"] == lanes == LANES
        for trigger in each["spec"]["triggers"]:
            found = re.fullmatch(r'max\((\w+)\{(\w+)=~"([^"]+)"\}\)', trigger["metadata"]["query"])
            assert found
            assert found[2] in families[found[1]].labels
            watched |= set(found[3].removesuffix(" lanes").replace(" lanes|", "|").split("|"))
    assert watched == set(SUBSCRIBERS)


def test_every_lasting_deployable_has_a_disruption_budget_and_is_spread(production: Objects) -> None:
    deployments = of_kind(production, "Deployment")
    assert of_kind(production, "PodDisruptionBudget").keys() == deployments.keys() - {CHECKS}
    for name, each in deployments.items():
        keys = {one["topologyKey"] for one in pod_of(each)["topologySpreadConstraints"]}
        assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}, name
        assert each["spec"].get("replicas", 2) == {CHECKS: 0, "dead-letters": 1}.get(name, 2), name


def test_the_front_door_has_the_paths_of_the_gateway(production: Objects) -> None:
    configuration = (ROOT / "deploy" / "gateway" / "haproxy.cfg").read_text()
    (first,) = re.findall(r"acl for_commands path,field\(2,/\) -m str (.*)", configuration)
    assert "acl for_commands path -m reg ^/schema/commands(/|$)" in configuration
    assert {*(f"/{word}" for word in first.split()), "/schema/commands"} == set(edge.COMMAND_PATHS)
    rules = of_kind(production, "HTTPRoute")["tidemark"]["spec"]["rules"]
    routes = {match["path"]["value"]: rule["backendRefs"][0]["name"] for rule in rules for match in rule["matches"]}
    assert routes == dict.fromkeys(edge.COMMAND_PATHS, "http") | {"/": "query", "/health": "query"}
    services = of_kind(production, "Service")
    for rule in rules:
        (target,) = rule["backendRefs"]
        assert target["port"] == services[target["name"]]["spec"]["ports"][0]["port"]


def test_every_rule_is_there_and_every_pod_is_scraped_under_the_labels_of_the_rules(production: Objects) -> None:
    rules = yaml.load((observability.FOLDER / files.RULES).read_text(), Loader=yaml.CSafeLoader)
    assert of_kind(production, "PrometheusRule")["tidemark"]["spec"] == rules
    monitor = of_kind(production, "ServiceMonitor")["tidemark"]["spec"]
    service = of_kind(production, "Service")["metrics"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "tidemark"
    for name, each in of_kind(production, "Deployment").items():
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        assert labels["deployable"].replace("_", "-") == name
