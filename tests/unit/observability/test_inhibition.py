"""While a process is down, a real Alertmanager holds back what follows from that, and nothing else."""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from deploy.observability import generate
from deploy.servers import packages, programs
from deploy.servers.errors import ProgramMissingError
from deploy.servers.ports import free_port

DOWN: Final = "TidemarkProcessDown"
UNHEALTHY: Final = "TidemarkComponentUnhealthy"
NO_CONSUMER: Final = "TidemarkQueueWithoutConsumer"
STOPPED: Final = "TidemarkEpochStopped"
BURNS: Final = "TidemarkFreshnessBurnsFast"
WITHIN_S: Final = 60.0


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    try:
        packages.install_missing(packages.ROUTING)
    except ProgramMissingError as error:
        pytest.skip(f"Alertmanager cannot be had: {error}")
    folder: Path = tmp_path_factory.mktemp("alertmanager")
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            str(programs.alertmanager()),
            f"--config.file={generate.FOLDER / 'alertmanager' / 'alertmanager.yml'}",
            f"--storage.path={folder}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=10) as client:
            _until_ready(client)
            yield client
    finally:
        process.kill()
        process.wait()


def _until_ready(client: httpx.Client) -> None:
    until = time.monotonic() + WITHIN_S
    while True:
        try:
            client.get("/-/ready").raise_for_status()
        except httpx.HTTPError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            return


def held_back(client: httpx.Client, alerts: Sequence[Mapping[str, str]]) -> list[bool]:
    """Of each of these, which fire together, whether Alertmanager holds it back."""
    client.post("/api/v2/alerts", json=[{"labels": labels} for labels in alerts]).raise_for_status()
    until = time.monotonic() + WITHIN_S
    while True:
        shown: list[Any] = client.get("/api/v2/alerts").raise_for_status().json()
        states = [next((one["status"] for one in shown if one["labels"] == labels), None) for labels in alerts]
        if all(state is not None and state["state"] != "unprocessed" for state in states):
            return [bool(state["inhibitedBy"]) for state in states if state is not None]
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_follows_from_a_process_that_is_down_is_held_back_and_what_another_suffers_from_is_not(
    alertmanager: httpx.Client,
) -> None:
    down = [{"alertname": DOWN, "deployable": name, "instance": f"{name}:1"} for name in ("relay", "summary")]
    follows = [
        {"alertname": UNHEALTHY, "deployable": "summary", "component": "store"},
        {"alertname": NO_CONSUMER, "deployable": "summary", "queue": "summary lanes"},
        {"alertname": UNHEALTHY, "deployable": "search", "component": "lanes"},
    ]
    others = [
        {"alertname": UNHEALTHY, "deployable": "analytics", "component": "store"},
        {"alertname": UNHEALTHY, "deployable": "worker", "component": "database"},
        {"alertname": NO_CONSUMER, "deployable": "search", "queue": "search lanes"},
        {"alertname": NO_CONSUMER, "queue": "commands"},
        {"alertname": BURNS, "projection": "summary"},
    ]
    expected = [False] * len(down) + [True] * len(follows) + [False] * len(others)
    assert held_back(alertmanager, [*down, *follows, *others]) == expected


def test_a_stopped_projection_explains_its_own_old_answers_alone(alertmanager: httpx.Client) -> None:
    alerts = [
        {"alertname": STOPPED, "projection": "orders"},
        {"alertname": BURNS, "projection": "orders"},
        {"alertname": UNHEALTHY, "deployable": "orders", "component": "epoch"},
        {"alertname": BURNS, "projection": "customers"},
    ]
    assert held_back(alertmanager, alerts) == [False, True, True, False]
