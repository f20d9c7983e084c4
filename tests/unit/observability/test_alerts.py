"""Alerts and dashboards follow from their tables; promtool accepts them; each alert fires when it should, and only then."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deploy.cli.main import app
from deploy.drills.alerts.faults import FAULTS
from deploy.observability import generate
from deploy.observability.alerting import files
from deploy.observability.alerting.alert import Alert
from deploy.observability.alerting.files import ALERTS
from deploy.observability.panels import DASHBOARDS, RATE
from deploy.run.deployables import DEPLOYABLES
from deploy.servers import packages, programs
from deploy.servers.errors import ProgramMissingError
from shared.observability.families import FAMILIES

ROOT = Path(__file__).parents[3]
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
EXPOSED = {family.name + suffix for family in FAMILIES for suffix in SUFFIXES[family.kind]}
OF_THE_CLIENT = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
}
"""By prometheus-client, in every process."""
OF_OTHERS = {"up", "node_filesystem_avail_bytes", "node_filesystem_size_bytes"}
"""By Prometheus itself, and by node_exporter on the servers' hosts."""
NAMES = re.compile(r"\b(?:tidemark_|process_|node_)\w+|\bup\b")


@pytest.fixture(scope="session")
def promtool() -> Path:
    if packages.missing(packages.MONITORING):
        packages.install(packages.MONITORING)
    return programs.promtool()


def run(promtool: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(promtool), *arguments], capture_output=True, text=True, timeout=120, check=False)


def names_in(expression: str) -> set[str]:
    """The names of metrics in it; labels and the text of matchers aside."""
    return set(NAMES.findall(re.sub(r"\{[^}]*\}|(?:by|on|without) \([^)]*\)", "", expression)))


def test_the_files_are_what_the_tables_make_of_them() -> None:
    for path, text in generate.generated().items():
        assert path.read_text() == text, f"{path}: run python -m deploy.observability.generate"
    for pattern in generate.OWNED:
        assert set(generate.FOLDER.glob(pattern)) <= generate.generated().keys()


def test_promtool_accepts_the_rules(promtool: Path) -> None:
    done = run(promtool, "check", "rules", str(generate.FOLDER / files.RULES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


def test_every_alert_fires_in_its_case_and_stays_silent_in_the_other(promtool: Path) -> None:
    done = run(promtool, "test", "rules", *(str(generate.FOLDER / name) for name in files.TESTS.values()))
    assert done.returncode == 0, done.stdout + done.stderr


def swapped(alert: Alert) -> Alert:
    """The same alert, expected to fire in the silent case and to stay silent in the other."""
    fires = replace(alert.fires, series=alert.silent.series, at=alert.silent.at)
    return replace(alert, fires=fires, silent=replace(alert.silent, series=alert.fires.series, at=alert.fires.at))


def test_the_two_cases_of_every_alert_differ_in_what_the_rule_sees(
    promtool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the cases exchanged every one of these tests fails, so none of them holds whatever the rule says."""
    monkeypatch.setattr(files, "ALERTS", [swapped(alert) for alert in ALERTS])
    for name, text in files.files():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    done = run(promtool, "test", "rules", *(str(tmp_path / name) for name in files.TESTS.values()))
    assert done.returncode != 0
    failed = re.findall(r"alertname: (\w+), time", done.stdout + done.stderr)
    assert sorted(failed) == sorted([alert.name for alert in ALERTS] * 2)


@pytest.mark.parametrize("alert", ALERTS, ids=[alert.name for alert in ALERTS])
def test_an_alert_names_declared_metrics_and_commands_that_exist(alert: Alert) -> None:
    used = names_in(alert.expression)
    assert used
    assert used <= EXPOSED | OF_THE_CLIENT | OF_OTHERS
    assert (ROOT / alert.runbook).is_file()
    typed = [step.removeprefix("$ tidemark ") for step in alert.steps if step.startswith("$ tidemark ")]
    assert typed or any(step.startswith("$ ") for step in alert.steps)
    for command in typed:
        words = [word for word in command.split(" --")[0].split() if not word.isupper()]
        result = CliRunner().invoke(app, [*words, "--help"])
        assert result.exit_code == 0, command
        known = re.sub(r"\x1b\[[0-9;]*m", "", result.output)
        assert not {option for option in re.findall(r"--[a-z-]+", command) if option != "--help"} - set(
            re.findall(r"--[a-z-]+", known)
        ), command


def test_the_drill_expects_alerts_that_there_are_and_takes_no_fault_that_it_does_not_know() -> None:
    labels = {alert.name: alert.fires.labels.keys() for alert in ALERTS}
    for fault in FAULTS:
        assert fault.alerts
        for expected in fault.alerts:
            assert expected.labels.keys() <= labels[expected.name], expected
            assert expected.labels.get("deployable", "worker") in DEPLOYABLES
    result = CliRunner().invoke(app, ["drill", "alerts", "--fault", "redis", "--fault", "disk"])
    assert result.exit_code == 2
    assert "there is no fault 'disk'" in result.output


def test_labels_in_summaries_are_labels_that_the_case_has() -> None:
    for alert in ALERTS:
        assert set(files.LABEL.findall(alert.summary)) <= alert.fires.labels.keys(), alert.name
        assert "{{" not in alert.meaning
        assert alert.fires.labels.keys() == alert.silent.labels.keys() or not alert.silent.labels


def test_every_panel_names_declared_metrics_once_and_fits_its_row() -> None:
    shown: set[str] = set()
    for title in DASHBOARDS:
        name = title.lower().replace(" ", "-")
        document: dict[str, Any] = json.loads((generate.FOLDER / f"grafana/dashboards/{name}.json").read_text())
        places: set[tuple[int, int]] = set()
        for panel in document["panels"]:
            for target in panel["targets"]:
                used = names_in(target["expr"])
                assert used, target["expr"]
                assert used <= EXPOSED | OF_THE_CLIENT, target["expr"]
                shown |= used
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & places, "panels overlap"
            assert max(x for x, _ in cells) < 24
            places |= cells
        assert len({panel["title"] for panel in document["panels"]}) == len(document["panels"])
    for family in FAMILIES:
        assert any(name.startswith(family.name) for name in shown), f"no panel shows {family.name}"


def test_the_names_in_an_expression_are_found() -> None:
    expression = f'sum by (process, le) (rate(tidemark_x_total{{process_a="up"}}[{RATE}])) / on (up) up{{a="b"}}'
    assert names_in(expression) == {"tidemark_x_total", "up"}


def test_the_configuration_for_containers_scrapes_every_deployable_and_is_valid(promtool: Path) -> None:
    path = generate.FOLDER / "prometheus" / "prometheus.yml"
    scraped = re.findall(r'targets: \["(\w+):9464"\], labels: \{deployable: (\w+)\}', path.read_text())
    assert sorted(scraped) == sorted((name, name) for name in DEPLOYABLES)
    services = re.findall(r"^  (\w+):$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    assert set(DEPLOYABLES) <= set(services)
    assert "TIDEMARK_METRICS_PORT=9464" in (ROOT / "deploy" / "Dockerfile").read_text()
    done = run(promtool, "check", "config", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_servers_own_exporters_are_in_compose_and_scraped() -> None:
    configuration = yaml.safe_load((generate.FOLDER / "prometheus" / "prometheus.yml").read_text())
    scraped = {
        target
        for job in configuration["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
        if not target.endswith(":9464")
    }
    beside = yaml.safe_load((generate.FOLDER / "docker-compose.yml").read_text())["services"]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    networks = set(beside["prometheus"]["networks"])
    for target in scraped:
        service = {**services, **beside}[target.partition(":")[0]]
        assert networks & set(service["networks"]), target
    assert {"rabbitmq:15692", "redis-exporter:9121", "write-db-exporter:9187", "read-db-exporter:9187"} <= scraped


@pytest.fixture(scope="session")
def routing() -> None:
    try:
        packages.install_missing(packages.ROUTING)
    except ProgramMissingError as error:
        pytest.skip(f"Alertmanager cannot be had: {error}")


@pytest.mark.usefixtures("routing")
def test_amtool_accepts_the_routes() -> None:
    done = run(programs.amtool(), "check-config", str(generate.FOLDER / "alertmanager" / "alertmanager.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 receivers" in done.stdout


def test_each_severity_has_a_route() -> None:
    routes = (generate.FOLDER / "alertmanager" / "alertmanager.yml").read_text()
    assert 'matchers: [severity = "page"]' in routes
    assert "receiver: ticket" in routes
    named = set(re.findall(r"Tidemark\w+", routes))
    assert named <= {alert.name for alert in ALERTS}
